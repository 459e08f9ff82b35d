"""Chooses the event store's adapter by its URL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.chassis.errors import Violation, invalid
from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.eventlog.port import EventStore


@asynccontextmanager
async def event_store(url: str) -> AsyncIterator[EventStore]:
    """The event store at `url` (`RUNPLANE_EVENT_STORE`), until the context is left.

    Raises:
        InvalidArgument: `EVENT_STORE_UNSUPPORTED`.
    """
    scheme = url.partition(":")[0]  # The rest may hold a password.
    if scheme != "memory":
        raise invalid(
            Violation("RUNPLANE_EVENT_STORE", f"{scheme}: is not supported", "use memory:"),
            reason="EVENT_STORE_UNSUPPORTED",
        )
    yield MemoryEventStore()
