"""`python -m services.tool_registry`."""

from contextlib import AbstractAsyncContextManager

from services.chassis.process import serve
from services.chassis.server import Running
from services.chassis.settings import ProcessSettings, SharedSettings
from services.tool_registry.app import running
from services.tool_registry.settings import Settings


def load() -> tuple[ProcessSettings, AbstractAsyncContextManager[Running]]:
    """Read the settings."""
    shared = SharedSettings()
    return shared, running(Settings(), shared)


if __name__ == "__main__":
    serve("tool_registry", load)
