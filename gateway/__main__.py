"""`python -m gateway`."""

from contextlib import AbstractAsyncContextManager

from gateway.app import running
from gateway.settings import ProcessSettings, Settings
from services.chassis.process import serve
from services.chassis.server import Running
from services.chassis.settings import LogSettings


def load() -> tuple[LogSettings, AbstractAsyncContextManager[Running]]:
    """Read the settings."""
    return ProcessSettings().log, running(Settings())


if __name__ == "__main__":
    serve("gateway", load)
