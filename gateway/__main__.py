"""`python -m gateway`."""

from contextlib import AbstractAsyncContextManager

from gateway.app import running
from gateway.settings import Settings
from services.chassis.process import serve
from services.chassis.server import Running
from services.chassis.settings import ProcessSettings


def load() -> tuple[ProcessSettings, AbstractAsyncContextManager[Running]]:
    """Read the settings."""
    return ProcessSettings(), running(Settings())


if __name__ == "__main__":
    serve("gateway", load)
