"""An event store in this process's memory, for a laptop and for tests. Nothing survives its end."""

import heapq
import itertools
from bisect import bisect_left, bisect_right
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from services.chassis.errors import ResourceExhausted
from services.chassis.eventbus.port import Message
from services.chassis.eventlog import refusals
from services.chassis.eventlog.bells import Bells, keeper
from services.chassis.eventlog.matching import matches, within
from services.chassis.eventlog.measures import Measures, timed
from services.chassis.eventlog.memory_tallies import MemoryTallies
from services.chassis.eventlog.memory_work import MemoryWork
from services.chassis.eventlog.port import (
    MOST_LETTERS,
    OUTBOX,
    Append,
    Claim,
    Kept,
    Letter,
    Outgoing,
    Query,
    Record,
    Snapshot,
    StoredEvent,
)
from services.chassis.eventlog.tallies import Held, Hold, Tally
from services.chassis.eventlog.times import utc_now

_EVENT_BYTES: Final = 320  # What an event takes beside its body, about.
_MAX_ROWS: Final = 50_000  # Of records, keys and outgoing messages each; the oldest give way.


@dataclass(slots=True)
class _Stream:
    events: list[StoredEvent] = field(default_factory=list)
    snapshot: Snapshot | None = None
    size_bytes: int = 0
    records: set[tuple[str, str]] = field(default_factory=set)


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
    whole, as if they had never been. One that wants a worker is never dropped.

    ResourceExhausted `EVENT_STORE_FULL`: the stream being appended to alone is too large.
    """

    def __init__(
        self,
        max_bytes: int = 256 * 1024 * 1024,
        *,
        now: Callable[[], datetime] = utc_now,
        name: str = "",
    ) -> None:
        self.measures = Measures(name)
        self._max_bytes = max_bytes
        self._now = now
        self._size_bytes = 0
        self._streams: OrderedDict[tuple[str, str], _Stream] = OrderedDict()
        self._log = _Log()
        self._work = MemoryWork(now)
        self._tallies = MemoryTallies(now)
        self._bells = Bells()
        self._records: OrderedDict[tuple[str, str, str], Record] = OrderedDict()
        self._keys: OrderedDict[tuple[str, str, str], tuple[Kept, datetime]] = OrderedDict()
        self._outbox: OrderedDict[int, Message] = OrderedDict()
        self._numbers = itertools.count(1)

    @timed
    async def append(self, batch: Append) -> Claim | None:
        """See `EventStore`. There is no await in here, so nobody sees half of it."""
        key = (batch.tenant, batch.stream_id)
        stream = self._streams.get(key) or _Stream()
        self._check(batch, stream)
        if batch.events:
            self._make_room(stream, batch)
            self._streams[key] = stream
            self._streams.move_to_end(key)
            self._add(stream, batch)
        self._write_beside(batch)
        if batch.is_done:
            self._work.done(key)
        claim = self._work.put(key, batch.work) if batch.work and not batch.is_done else None
        self._bells.ring(keeper(batch, claim))
        self._trim()
        self._bells.ring(OUTBOX if batch.outbox else None)
        return claim

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

    async def kept(self, tenant: str, scope: str, key: str) -> Kept | None:
        """See `EventStore`."""
        found = self._keys.get((tenant, scope, key))
        return found[0] if found and found[1] > self._now() else None

    async def claim(
        self, kind: str, owner: str, *, limit: int, lease: timedelta
    ) -> Sequence[Claim]:
        """See `EventStore`."""
        return self._work.claim(kind, owner, limit=limit, lease=lease)

    async def take(
        self, tenant: str, stream_id: str, owner: str, *, lease: timedelta
    ) -> Claim | None:
        """See `EventStore`."""
        return self._work.take((tenant, stream_id), owner, lease=lease)

    async def renew(self, owner: str, *, lease: timedelta) -> Sequence[Claim]:
        """See `EventStore`."""
        return self._work.renew(owner, lease=lease)

    async def release(self, claims: Sequence[Claim]) -> None:
        """See `EventStore`."""
        self._work.release(claims)

    async def waiting(self, kind: str) -> int:
        """See `EventStore`."""
        return self._work.waiting(kind)

    async def due_in(self, kind: str) -> timedelta | None:
        """See `EventStore`."""
        return self._work.due_in(kind)

    async def send(
        self, tenant: str, stream_id: str, kind: str, body: bytes, *, most: int = MOST_LETTERS
    ) -> str | None:
        """See `EventStore`."""
        owner = self._work.send((tenant, stream_id), kind, body, most)
        self._bells.ring(owner)
        return owner

    async def letters(
        self, owner: str, *, stream_id: str = "", known: Collection[int] = ()
    ) -> Sequence[Letter]:
        """See `EventStore`."""
        return self._work.letters(owner, stream_id, frozenset(known))

    async def rung(self, owner: str) -> None:
        """See `EventStore`."""
        await self._bells.rung(owner)

    async def record(self, tenant: str, kind: str, record_id: str) -> Record | None:
        """See `EventStore`."""
        return self._records.get((tenant, kind, record_id))

    async def records(self, query: Query) -> Sequence[Record]:
        """See `EventStore`."""
        found = [
            record
            for (tenant, kind, record_id), record in self._records.items()
            if (tenant, kind) == (query.tenant, query.kind)
            and _is_beyond(record_id, query)
            and matches(query.where, record.attributes)
        ]
        found.sort(key=lambda record: record.id, reverse=query.is_descending)
        return list(within(found[: query.limit], query.max_bytes))

    async def every(
        self, kind: str, *, after: tuple[str, str] = ("", ""), limit: int = 1000
    ) -> Sequence[tuple[str, Record]]:
        """See `EventStore`."""
        found = (
            (tenant, record)
            for (tenant, of_kind, record_id), record in self._records.items()
            if of_kind == kind and (tenant, record_id) > after
        )
        return heapq.nsmallest(limit, found, key=lambda each: (each[0], each[1].id))

    async def outgoing(self, *, after: int = 0, limit: int = 100) -> Sequence[Outgoing]:
        """See `EventStore`."""
        found = (Outgoing(*each) for each in self._outbox.items() if each[0] > after)
        return list(itertools.islice(found, limit))

    async def backlog(self) -> Mapping[str, int]:
        """See `EventStore`."""
        return Counter(message.topic for message in self._outbox.values())

    async def told(self, numbers: Sequence[int]) -> None:
        """See `EventStore`."""
        for number in numbers:
            self._outbox.pop(number, None)

    async def hold(self, tenant: str, hold: Hold) -> Held:
        """See `EventStore`."""
        return self._tallies.hold(tenant, hold)

    async def tallied(
        self, tenant: str, first: str, last: str, *, limit: int = 1000
    ) -> Sequence[Tally]:
        """See `EventStore`."""
        return self._tallies.tallied(tenant, first, last, limit)

    def _check(self, batch: Append, stream: _Stream) -> None:
        if (key := batch.key) is not None:
            found = self._keys.get((batch.tenant, key.scope, key.key))
            if found and found[1] > self._now():
                raise refusals.key_taken(key)
        if batch.claim is not None and not self._work.is_held(batch.claim):
            raise refusals.claim_lost(batch.claim)
        if len(stream.events) != batch.expected:
            raise refusals.sequence_conflict(batch)

    def _add(self, stream: _Stream, batch: Append) -> None:
        for sequence, new in enumerate(batch.events, batch.expected + 1):
            position = self._log.next_position()
            event = StoredEvent(
                batch.tenant, batch.stream_id, sequence, position, new.type, new.time, new.body
            )
            stream.events.append(event)
            self._log.add(event)
        if batch.snapshot is not None:
            stream.snapshot = Snapshot(len(stream.events), batch.snapshot)

    def _write_beside(self, batch: Append) -> None:
        self._work.answered((batch.tenant, batch.stream_id), batch.answered)
        stream = self._streams.get((batch.tenant, batch.stream_id))
        for record in batch.records:
            self._records[batch.tenant, record.kind, record.id] = record
            if stream is not None:
                stream.records.add((record.kind, record.id))
        for message in batch.outbox:
            self._outbox[next(self._numbers)] = message
        self._tallies.add(batch.tenant, batch.tallies, batch.spent)
        if (key := batch.key) is not None:
            kept = Kept(batch.stream_id, key.fingerprint)
            self._keys[batch.tenant, key.scope, key.key] = kept, self._now() + key.lasts
        for rows in (self._records, self._keys, self._outbox):
            while len(rows) > _MAX_ROWS:
                rows.popitem(last=False)

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
        if self._size_bytes <= self._max_bytes:
            return
        for key in [each for each in self._streams if each not in self._work]:
            if self._size_bytes <= self._max_bytes or len(self._streams) == 1:
                return
            dropped = self._streams.pop(key)
            self._size_bytes -= dropped.size_bytes
            self._log.drop(dropped.events)
            for record in dropped.records:
                self._records.pop((key[0], *record), None)


def _is_beyond(record_id: str, query: Query) -> bool:
    if not query.after:
        return True
    return record_id < query.after if query.is_descending else record_id > query.after
