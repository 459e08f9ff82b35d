"""Chooses the event store's adapter by its URL."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime

from services.chassis.eventlog import refusals, sqlite
from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.eventlog.migrations import file_of
from services.chassis.eventlog.port import EventStore
from services.chassis.eventlog.times import utc_now
from services.chassis.settings import SharedSettings


def event_store_of(shared: SharedSettings, service: str) -> AbstractAsyncContextManager[EventStore]:
    """A service's part of its suite's event store; see `event_store`."""
    return event_store(shared.event_store, service=service, migrates=shared.migrates)


@asynccontextmanager
async def event_store(
    url: str,
    *,
    service: str,
    now: Callable[[], datetime] | None = None,
    migrates: bool = True,
) -> AsyncIterator[EventStore]:
    """A service's part of the event store at `url` (`RUNPLANE_EVENT_STORE`).

    `memory:`; `sqlite:///DIR` (`sqlite:////DIR` from the root), with a file for each service; or
    `postgresql://…`, with a schema for each. Its schema is brought up to date, unless `migrates`
    says that somebody else does that (`RUNPLANE_MIGRATE`).

    Raises:
        InvalidArgument: `EVENT_STORE_UNSUPPORTED`.
        FailedPrecondition, Unavailable: it cannot be opened.
    """
    scheme, _, rest = url.partition(":")  # The rest may hold a password.
    if scheme == "memory":
        yield MemoryEventStore(now=now or utc_now, name=service)
    elif scheme == "sqlite" and rest.startswith("///") and len(rest) > len("///"):
        path = file_of(url, service)
        async with sqlite.opened(path, now=now or utc_now, migrates=migrates) as store:
            yield store
    elif scheme in {"postgresql", "postgres"}:
        from services.chassis.eventlog import postgres  # noqa: PLC0415 - who needs none, loads none

        async with postgres.opened(url, service, now=now, migrates=migrates) as store:
            yield store
    else:
        raise refusals.unsupported(f"{scheme}: is not supported")
