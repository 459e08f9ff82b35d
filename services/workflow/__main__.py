"""`python -m services.workflow`."""

from contextlib import AbstractAsyncContextManager

from services.chassis.process import serve
from services.chassis.server import Running
from services.chassis.settings import ProcessSettings, SharedSettings
from services.workflow.app import running
from services.workflow.settings import Settings


def load() -> tuple[ProcessSettings, AbstractAsyncContextManager[Running]]:
    """Read the settings."""
    shared = SharedSettings()
    return shared, running(Settings(), shared)


if __name__ == "__main__":
    serve("workflow", load)
