"""The histories of workflows as an event store has them."""

from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Final

from services.chassis.eventlog.port import EventStore, Record, Snapshot, StoredEvent
from services.workflow.adapters import codec, snapshots
from services.workflow.domain import events as ev
from services.workflow.domain.verification import Beside, Recorded, Shown, Summary
from services.workflow.mapping.events import NAMES
from services.workflow.mapping.workflows import HEAD, RECORD, differences, sequence_of

PREFIX: Final = "wf_"
"""Of the streams that are workflows; the store has others, too."""
PAGE: Final = 64
PAGE_BYTES: Final = 256 * 1024
"""About: a page has fewer events where they are large."""
ABANDONED: Final = "abandoned"
STARTED: Final = NAMES[ev.Started][0]


class EventStoreHistories:
    """See `Histories`."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def beside(self, tenant: str, workflow_id: str) -> Beside:
        """See `Histories`."""
        record = await self._store.record(tenant, RECORD, workflow_id)
        snapshot = await self._store.snapshot(tenant, workflow_id)
        shown = _shown(record) if record is not None else None
        summary = _summary(snapshot) if snapshot is not None else None
        return Beside(shown, summary, (record, snapshot))

    async def pages(
        self, tenant: str, workflow_id: str
    ) -> AsyncGenerator[Sequence[Recorded], None]:
        """See `Histories`."""
        if not workflow_id.startswith(PREFIX):
            return
        async for page in stored(self._store, tenant, workflow_id):
            yield [codec.recorded(event) for event in page]

    async def every(
        self, *, after: tuple[str, str] = ("", ""), limit: int
    ) -> Sequence[tuple[tuple[str, str], int]]:
        """See `Histories`."""
        found = await self._store.every(RECORD, after=after, limit=limit)
        return [((tenant, record.id), _number(tenant, record)) for tenant, record in found]

    async def abandoned(self) -> Sequence[tuple[str, str]]:
        """See `Histories`."""
        found: list[tuple[str, str]] = []
        after = ("", "")
        while page := await self._store.every(ABANDONED, after=after, limit=PAGE):
            found += [(tenant, each.id) for tenant, each in page if each.attributes[ABANDONED]]
            after = (page[-1][0], page[-1][1].id)
        return found

    async def unshown(
        self, *, after: int = 0, limit: int
    ) -> tuple[Sequence[tuple[str, str]], int | None]:
        """See `Histories`."""
        page = await self._store.read_all(after=after, limit=limit)
        begun = [(each.tenant, each.stream_id) for each in page if each.type == STARTED]
        found = [
            (tenant, workflow_id)
            for tenant, workflow_id in begun
            if await self._store.record(tenant, RECORD, workflow_id) is None
        ]
        return found, page[-1].position if len(page) == limit else None


async def stored(
    store: EventStore, tenant: str, workflow_id: str, *, after: int = 0
) -> AsyncGenerator[Sequence[StoredEvent], None]:
    """Events of a stream by pages that are never large. The first one is small: it is not known
    how large events are."""
    limit = PAGE // 4
    while page := await store.read(tenant, workflow_id, after=after, limit=limit):
        yield page
        if len(page) < limit:
            return
        after = page[-1].sequence
        average = sum(len(event.body) for event in page) / len(page)
        limit = max(1, min(PAGE, int(PAGE_BYTES / max(average, 1))))


def _shown(record: Record) -> Shown:
    head = record.attributes.get(HEAD)
    return Shown(
        sequence_of(record), head if isinstance(head, str) else "", partial(differences, record)
    )


def _summary(snapshot: Snapshot) -> Summary:
    try:
        kept = snapshots.read(snapshot.body)
    except ValueError:
        return Summary(snapshot.sequence, "", None)
    return Summary(snapshot.sequence, kept.head, kept.instance)


def _number(tenant: str, record: Record) -> int:
    attributes = tuple(sorted(record.attributes.items()))
    return hash((tenant, record.id, record.body, attributes))
