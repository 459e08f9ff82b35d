"""Chooses the event bus's adapter by its URL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.chassis.errors import Violation, invalid
from services.chassis.eventbus.memory import MemoryEventBus
from services.chassis.eventbus.port import EventBus


@asynccontextmanager
async def event_bus(url: str) -> AsyncIterator[EventBus]:
    """The event bus at `url` (`RUNPLANE_EVENT_BUS`), until the context is left.

    Raises:
        InvalidArgument: `EVENT_BUS_UNSUPPORTED`.
    """
    scheme = url.partition(":")[0]  # The rest may hold a password.
    if scheme != "memory":
        raise invalid(
            Violation("RUNPLANE_EVENT_BUS", f"{scheme}: is not supported", "use memory:"),
            reason="EVENT_BUS_UNSUPPORTED",
        )
    yield MemoryEventBus()
