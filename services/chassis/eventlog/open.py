"""Chooses the event store's adapter by its URL."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from services.chassis.eventlog import refusals, sqlite
from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.eventlog.port import EventStore
from services.chassis.eventlog.times import utc_now


@asynccontextmanager
async def event_store(
    url: str, *, service: str, now: Callable[[], datetime] | None = None
) -> AsyncIterator[EventStore]:
    """A service's part of the event store at `url` (`RUNPLANE_EVENT_STORE`).

    `memory:`; `sqlite:///DIR` (`sqlite:////DIR` from the root), with a file for each service; or
    `postgresql://…`, with a schema for each.

    Raises:
        InvalidArgument: `EVENT_STORE_UNSUPPORTED`.
        FailedPrecondition, Unavailable: it cannot be opened.
    """
    scheme, _, rest = url.partition(":")  # The rest may hold a password.
    if scheme == "memory":
        yield MemoryEventStore(now=now or utc_now)
    elif scheme == "sqlite" and rest.startswith("///") and len(rest) > len("///"):
        async with sqlite.opened(Path(rest[3:]) / f"{service}.db", now=now or utc_now) as store:
            yield store
    elif scheme in {"postgresql", "postgres"}:
        from services.chassis.eventlog import postgres  # noqa: PLC0415 - who needs none, loads none

        async with postgres.opened(url, service, now=now) as store:
            yield store
    else:
        raise refusals.unsupported(f"{scheme}: is not supported")
