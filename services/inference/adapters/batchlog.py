"""Batches on an event store: a stream for each, named by its id, and records beside it."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from runplane.inference.v1 import batches_pb2 as pb

from services.chassis.errors import InvalidArgument
from services.chassis.eventlog.port import (
    Append,
    Claim,
    Compare,
    Condition,
    EventStore,
    Every,
    Kept,
    Key,
    Query,
    StoredEvent,
    Work,
)
from services.chassis.hotstore.port import Entry, HotStore
from services.chassis.paging import PAGE_BYTES
from services.chassis.watching import Log, watched
from services.inference.adapters import batchcodec as codec
from services.inference.batching.ports import Loaded
from services.inference.domain import batch as bt
from services.inference.mapping import batches as mapping
from services.inference.mapping.inference import Schemas

KIND: Final = "batch"
PREFIX: Final = "batch_"
PAGE: Final = 64
PAGE_BYTES_READ: Final = 256 * 1024
"""About: a page has fewer events where they are large."""
_EXISTS: Final = Compare(codec.IS_DELETED, "!=", True)
_UNENDED: Final = [Compare("status", "!=", each.value) for each in bt.CLOSED]


@dataclass(frozen=True, slots=True)
class EventStoreBatches:
    """See `BatchLog`."""

    store: EventStore
    hot: HotStore
    schemas: Schemas

    async def begin(self, created: bt.Created, request: bytes, key: Key | None = None) -> bt.Batch:
        """See `BatchLog`."""
        batch = bt.evolve(None, created)
        spec, keys = batch.spec, [item.key for item in created.items]
        event = codec.encoded(batch, created, keys, request)
        items = codec.item_records(None, batch, [created], keys)
        await self.store.append(
            Append(
                spec.tenant,
                spec.batch_id,
                0,
                [event],
                work=Work(KIND),
                records=[codec.record(batch), *items],
                key=key,
            )
        )
        return batch

    async def kept(self, tenant: str, key: Key) -> Kept | None:
        """See `BatchLog`."""
        return await self.store.kept(tenant, key.scope, key.key)

    async def load(self, tenant: str, batch_id: str) -> Loaded:
        """See `BatchLog`."""
        loaded = await self._begun(await self._first(tenant, batch_id))
        batch, limit = loaded.batch, PAGE // 4
        while page := await self.store.read(tenant, batch_id, after=batch.sequence, limit=limit):
            batch = _replayed(batch, page)
            limit = _next_limit(page)
        if batch.is_deleted:
            raise bt.missing(batch_id)
        return Loaded(batch, loaded.items)

    async def append(
        self, loaded: Loaded, events: Sequence[bt.Event], *, claim: Claim | None = None
    ) -> Loaded:
        """See `BatchLog`."""
        batch, keys, stored = loaded.batch, [item.key for item in loaded.items], []
        for event in events:
            batch = bt.evolve(batch, event)
            stored.append(codec.encoded(batch, event, keys))
        spec = batch.spec
        records = codec.item_records(loaded.batch, batch, events, keys)
        await self.store.append(
            Append(
                spec.tenant,
                spec.batch_id,
                loaded.batch.sequence,
                stored,
                claim=claim,
                is_done=batch.is_closed,
                records=[codec.record(batch), *records],
            )
        )
        first = loaded.batch.sequence + 1
        entries = [Entry(first + index, event.body) for index, event in enumerate(stored)]
        await self.hot.publish(_topic(spec.tenant, spec.batch_id), entries)
        return replace(loaded, batch=batch)

    async def state(self, tenant: str, batch_id: str) -> bt.State:
        """See `BatchLog`."""
        return bt.State(pb.Batch.FromString(await self.shown(tenant, batch_id)).status)

    async def unended(self, tenant: str, most: int) -> int:
        """See `BatchLog`."""
        where = Every([_EXISTS, *_UNENDED])
        return len(await self.store.records(Query(tenant, codec.RECORD, where, limit=most)))

    async def shown(self, tenant: str, batch_id: str) -> bytes:
        """See `BatchLog`."""
        found = await self.store.record(tenant, codec.RECORD, batch_id)
        if found is None or codec.IS_DELETED in found.attributes:
            raise bt.missing(batch_id)
        return found.body

    async def page(
        self, tenant: str, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """See `BatchLog`."""
        chosen = _EXISTS if where is None else Every([_EXISTS, where])
        query = Query(tenant, codec.RECORD, chosen, after, limit, max_bytes=PAGE_BYTES)
        return [(found.id, found.body) for found in await self.store.records(query)]

    async def items(
        self, tenant: str, batch_id: str, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """See `BatchLog`."""
        await self.shown(tenant, batch_id)
        kind = codec.items_of(batch_id)
        query = Query(tenant, kind, where, after, limit, is_descending=False, max_bytes=PAGE_BYTES)
        return [(found.id, found.body) for found in await self.store.records(query)]

    def watch(self, tenant: str, batch_id: str, *, after: int) -> AsyncGenerator[bytes, None]:
        """See `BatchLog`."""
        log = Log(
            _topic(tenant, batch_id),
            read=partial(self._read, tenant, batch_id),
            last=partial(self._last, tenant, batch_id),
            closes=codec.closes,
        )
        return watched(self.hot, log, after=after)

    async def _first(self, tenant: str, batch_id: str) -> StoredEvent:
        found = (
            await self.store.read(tenant, batch_id, limit=1) if batch_id.startswith(PREFIX) else ()
        )
        if not found or found[0].type != codec.CREATED:
            raise bt.missing(batch_id)
        return found[0]

    async def _begun(self, first: StoredEvent) -> Loaded:
        try:
            message = codec.read(first)
            spec = mapping.spec(message, first.tenant)
            items = await mapping.items(message.request, self.schemas)
        except (ValueError, InvalidArgument) as error:
            raise codec.corrupt(first.stream_id, first.sequence) from error
        return Loaded(bt.evolve(None, bt.Created(first.time, spec, items)), items)

    async def _read(
        self, tenant: str, batch_id: str, after: int, limit: int
    ) -> Sequence[StoredEvent]:
        page = await self.store.read(tenant, batch_id, after=after, limit=limit)
        return [
            replace(event, body=codec.shown(event.body)) if event.type == codec.CREATED else event
            for event in page
        ]

    async def _last(self, tenant: str, batch_id: str) -> tuple[int, bool]:
        found = pb.Batch.FromString(await self.shown(tenant, batch_id))
        return found.last_sequence, bt.State(found.status) in bt.CLOSED


def _replayed(batch: bt.Batch, page: Sequence[StoredEvent]) -> bt.Batch:
    for stored in page:
        try:
            batch = bt.evolve(batch, codec.event_of(stored))
        except ValueError as error:
            raise codec.corrupt(stored.stream_id, stored.sequence) from error
    return batch


def _next_limit(page: Sequence[StoredEvent]) -> int:
    average = sum(len(event.body) for event in page) / len(page)
    return max(1, min(PAGE, int(PAGE_BYTES_READ / max(average, 1))))


def _topic(tenant: str, batch_id: str) -> str:
    return f"{tenant}/{batch_id}"
