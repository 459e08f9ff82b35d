"""`python -m services.inference`."""

from contextlib import AbstractAsyncContextManager

from services.chassis.process import serve
from services.chassis.server import Running
from services.chassis.settings import ProcessSettings, SharedSettings
from services.inference.app import running
from services.inference.settings import Settings


def load() -> tuple[ProcessSettings, AbstractAsyncContextManager[Running]]:
    """Read the settings."""
    shared = SharedSettings()
    return shared, running(Settings(), shared)


if __name__ == "__main__":
    serve("inference", load)
