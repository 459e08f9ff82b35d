"""What a service needs of an event store. Adapters pass `tests/contract/chassis/eventlog`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to append."""

    type: str
    """A name that is kept for ever, with its version: `task.started.v1`."""
    time: datetime
    body: bytes


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event of a stream."""

    tenant: str
    stream_id: str
    sequence: int
    position: int
    type: str
    time: datetime
    body: bytes

    @property
    def id(self) -> str:
        """Names this event everywhere (its CloudEvents id)."""
        return f"{self.stream_id}/{self.sequence}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a stream's events up to `sequence` add up to."""

    sequence: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Append:
    """Events for the end of one stream, and with the last of them perhaps a snapshot."""

    tenant: str
    stream_id: str
    expected: int
    """The sequence the stream ends with now; 0 starts it."""
    events: Sequence[NewEvent]
    snapshot: bytes | None = None
    """What the stream adds up to after these events."""


class EventStore(Protocol):
    """Append-only streams. What `append` has returned for survives a crash of the process, as far
    as the adapter promises durability; every adapter promises that it is visible to all readers."""

    async def append(self, batch: Append) -> None:
        """Add the events, all or none.

        Raises:
            Aborted: `SEQUENCE_CONFLICT`; the stream does not end with `expected`.
            Unavailable: `EVENT_STORE_UNAVAILABLE`; nothing is known of the outcome.
        """

    async def read(
        self, tenant: str, stream_id: str, *, after: int = 0, limit: int = 1000
    ) -> Sequence[StoredEvent]:
        """Events of a stream with a sequence above `after`, in order; empty if there are none."""

    async def read_all(self, *, after: int = 0, limit: int = 1000) -> Sequence[StoredEvent]:
        """Events of all tenants with a position above `after`, in the order of commits.

        An event that is committed later never gets a position below one already read.
        """

    async def snapshot(self, tenant: str, stream_id: str) -> Snapshot | None:
        """The newest snapshot of a stream."""
