"""An event store in this process's memory, for a laptop and for tests. Nothing survives its end."""

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from services.chassis.errors import Aborted, ResourceExhausted
from services.chassis.eventlog.port import Append, Snapshot, StoredEvent

_EVENT_BYTES: Final = 320  # What an event takes beside its body, about.


@dataclass(slots=True)
class _Stream:
    events: list[StoredEvent] = field(default_factory=list)
    snapshot: Snapshot | None = None
    size_bytes: int = 0


class _Log:
    """Every event in the order of commits. A dropped one leaves a hole until holes are half."""

    def __init__(self) -> None:
        self._positions: list[int] = []
        self._events: list[StoredEvent | None] = []
        self._last = 0
        self._holes = 0

    def next_position(self) -> int:
        self._last += 1
        return self._last

    def add(self, event: StoredEvent) -> None:
        self._positions.append(event.position)
        self._events.append(event)

    def drop(self, events: Sequence[StoredEvent]) -> None:
        for event in events:
            self._events[bisect_left(self._positions, event.position)] = None
        self._holes += len(events)
        if self._holes * 2 > len(self._events):
            self._events = [event for event in self._events if event]
            self._positions = [event.position for event in self._events if event]
            self._holes = 0

    def read(self, after: int, limit: int) -> list[StoredEvent]:
        page: list[StoredEvent] = []
        for index in range(bisect_right(self._positions, after), len(self._events)):
            if len(page) >= limit:
                break
            if (event := self._events[index]) is not None:
                page.append(event)
        return page


class MemoryEventStore:
    """Keeps what fits into `max_bytes`; beyond, the streams appended to least recently are dropped
    whole, as if they had never been.

    The stream being appended to is never dropped: one that alone is too large gets
    ResourceExhausted `EVENT_STORE_FULL`.
    """

    def __init__(self, max_bytes: int = 256 * 1024 * 1024) -> None:
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._streams: OrderedDict[tuple[str, str], _Stream] = OrderedDict()
        self._log = _Log()

    async def append(self, batch: Append) -> None:
        """See `EventStore`. There is no await in here, so nobody sees half of it."""
        key = (batch.tenant, batch.stream_id)
        stream = self._streams.get(key) or _Stream()
        if len(stream.events) != batch.expected:
            raise Aborted(
                "SEQUENCE_CONFLICT",
                f"{batch.stream_id} ends with {len(stream.events)}, not {batch.expected}",
                stream_id=batch.stream_id,
                sequence=str(len(stream.events)),
            )
        if not batch.events:
            return
        self._make_room(stream, batch)
        self._streams[key] = stream
        self._streams.move_to_end(key)
        for sequence, new in enumerate(batch.events, batch.expected + 1):
            position = self._log.next_position()
            event = StoredEvent(*key, sequence, position, new.type, new.time, new.body)
            stream.events.append(event)
            self._log.add(event)
        if batch.snapshot is not None:
            stream.snapshot = Snapshot(len(stream.events), batch.snapshot)
        self._trim()

    async def read(
        self, tenant: str, stream_id: str, *, after: int = 0, limit: int = 1000
    ) -> Sequence[StoredEvent]:
        """See `EventStore`."""
        stream = self._streams.get((tenant, stream_id))
        return stream.events[after : after + limit] if stream else ()

    async def read_all(self, *, after: int = 0, limit: int = 1000) -> Sequence[StoredEvent]:
        """See `EventStore`."""
        return self._log.read(after, limit)

    async def snapshot(self, tenant: str, stream_id: str) -> Snapshot | None:
        """See `EventStore`."""
        stream = self._streams.get((tenant, stream_id))
        return stream.snapshot if stream else None

    def _make_room(self, stream: _Stream, batch: Append) -> None:
        added = sum(_EVENT_BYTES + len(event.body) for event in batch.events)
        if batch.snapshot is not None:
            added += len(batch.snapshot) - (len(stream.snapshot.body) if stream.snapshot else 0)
        if stream.size_bytes + added > self._max_bytes:
            raise ResourceExhausted(
                "EVENT_STORE_FULL",
                f"{batch.stream_id} would not fit into {self._max_bytes} bytes of memory",
                stream_id=batch.stream_id,
                max_bytes=str(self._max_bytes),
            )
        stream.size_bytes += added
        self._size_bytes += added

    def _trim(self) -> None:
        while self._size_bytes > self._max_bytes:
            _, dropped = self._streams.popitem(last=False)
            self._size_bytes -= dropped.size_bytes
            self._log.drop(dropped.events)
