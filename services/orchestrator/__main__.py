"""`python -m services.orchestrator`."""

from contextlib import AbstractAsyncContextManager

from services.chassis.process import serve
from services.chassis.server import Running
from services.chassis.settings import ProcessSettings, SharedSettings
from services.orchestrator.app import running
from services.orchestrator.settings import Settings


def load() -> tuple[ProcessSettings, AbstractAsyncContextManager[Running]]:
    """Read the environment."""
    shared = SharedSettings()
    return shared, running(Settings(), shared)


if __name__ == "__main__":
    serve("orchestrator", load)
