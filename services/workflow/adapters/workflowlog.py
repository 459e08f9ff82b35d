"""Workflows on an event store: a stream for each, named by its id, and a record beside it."""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from time import perf_counter
from typing import Final

from services.chassis.errors import Aborted
from services.chassis.eventlog.port import (
    Append,
    Claim,
    Condition,
    EventStore,
    Kept,
    Key,
    Query,
    Record,
    StoredEvent,
    Work,
)
from services.chassis.hotstore.port import Entry, HotStore
from services.chassis.paging import PAGE_BYTES
from services.chassis.watching import Log, watched
from services.workflow.adapters import codec, snapshots
from services.workflow.adapters.codec import Encoded
from services.workflow.adapters.histories import ABANDONED, PREFIX, stored
from services.workflow.adapters.known import Known
from services.workflow.adapters.publications import Publications
from services.workflow.adapters.replay import replayed
from services.workflow.domain import events as ev
from services.workflow.domain.advance import Decided
from services.workflow.domain.definition import Definition
from services.workflow.domain.instance import Instance, Standing
from services.workflow.domain.refusals import missing
from services.workflow.domain.steps import Look, Over, Rest, next_step
from services.workflow.mapping.workflows import RECORD, is_closed, record, sequence_of
from services.workflow.measures import Measures
from services.workflow.ports import Appended, DefinitionStore, Loaded

KIND: Final = "workflow"
LINGER: Final = timedelta(seconds=1)
"""A worker keeps a workflow that rests no longer than this."""
FAR: Final = timedelta(days=36_500)
"""When a workflow is due that waits for no time."""


@dataclass(frozen=True, slots=True)
class _Way:
    """How something is appended."""

    takes: bool
    claim: Claim | None
    key: Key | None
    keeps: bool = False
    marks: Sequence[Record] = ()


@dataclass(frozen=True, slots=True)
class Outlets:
    """Where events go beside the store: to watchers, and to the event bus."""

    hot: HotStore
    publications: Publications


class EventStoreWorkflows:
    """See `WorkflowLog`."""

    def __init__(
        self,
        store: EventStore,
        outlets: Outlets,
        definitions: DefinitionStore,
        *,
        work: Work,
        now: Callable[[], datetime],
    ) -> None:
        """`work` has the owner of this process's claims, and how long it has them."""
        self._store = store
        self._outlets = outlets
        self._definitions = definitions
        self._work = work
        self._now = now
        self._known = Known()
        self.measures = Measures()

    async def begin(
        self, definition: Definition, decided: Decided, *, takes: bool, key: Key | None = None
    ) -> Appended:
        """See `WorkflowLog`."""
        return await self._append(definition, None, decided, _Way(takes, None, key))

    async def load(self, tenant: str, workflow_id: str, *, is_fresh: bool = False) -> Loaded:
        """See `WorkflowLog`."""
        known = self._known.get((tenant, workflow_id))
        if known is not None and not is_fresh:
            return known
        loaded = await self._replayed(tenant, workflow_id)
        return self._known.put((tenant, workflow_id), loaded)

    async def append(
        self,
        loaded: Loaded,
        decided: Decided,
        *,
        takes: bool = False,
        claim: Claim | None = None,
        key: Key | None = None,
    ) -> Appended:
        """See `WorkflowLog`."""
        way = _Way(takes, claim, key)
        return await self._append(loaded.definition, loaded, decided, way)

    async def repair(self, loaded: Loaded, decided: Decided) -> Appended:
        """See `WorkflowLog`."""
        way = _Way(takes=False, claim=None, key=None, keeps=True)
        return await self._append(loaded.definition, loaded, decided, way)

    async def abandon(self, claim: Claim) -> None:
        """See `WorkflowLog`."""
        last, name = 0, (claim.tenant, claim.stream_id)
        while True:
            async for page in stored(self._store, *name, after=last):
                last = page[-1].sequence
            left = Append(
                *name,
                last,
                (),
                claim=claim,
                work=Work(KIND, delay=FAR),
                records=[_mark(claim.stream_id, is_abandoned=True)],
            )
            try:
                await self._store.append(left)
            except Aborted as error:
                if error.reason == "CLAIM_LOST":
                    raise
            else:
                return

    async def resume(self, tenant: str, workflow_id: str) -> Appended | None:
        """See `WorkflowLog`."""
        mark = await self._store.record(tenant, ABANDONED, workflow_id)
        if mark is None or not mark.attributes[ABANDONED]:
            return None
        loaded = await self.load(tenant, workflow_id, is_fresh=True)
        marks = [_mark(workflow_id, is_abandoned=False)]
        way = _Way(takes=False, claim=None, key=None, marks=marks)
        return await self._append(loaded.definition, loaded, (loaded.instance, ()), way)

    async def kept(self, tenant: str, key: Key) -> Kept | None:
        """See `WorkflowLog`."""
        return await self._store.kept(tenant, key.scope, key.key)

    async def shown(self, tenant: str, workflow_id: str) -> bytes:
        """See `WorkflowLog`."""
        if (found := await self._store.record(tenant, RECORD, workflow_id)) is None:
            raise missing(workflow_id)
        return found.body

    async def page(
        self, tenant: str, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """See `WorkflowLog`."""
        query = Query(tenant, RECORD, where, after, limit, max_bytes=PAGE_BYTES)
        return [(found.id, found.body) for found in await self._store.records(query)]

    async def events(
        self, tenant: str, workflow_id: str, *, after: int, limit: int
    ) -> Sequence[bytes]:
        """See `WorkflowLog`."""
        page = await self._read(tenant, workflow_id, after, limit)
        return [event.body for event in page]

    def watch(self, tenant: str, workflow_id: str, *, after: int) -> AsyncGenerator[bytes, None]:
        """See `WorkflowLog`."""
        log = Log(
            _topic(tenant, workflow_id),
            read=partial(self._read, tenant, workflow_id),
            last=partial(self._last, tenant, workflow_id),
            closes=codec.closes,
        )
        return watched(self._outlets.hot, log, after=after)

    async def _append(
        self, definition: Definition, loaded: Loaded | None, decided: Decided, way: _Way
    ) -> Appended:
        instance, events = decided
        before, head = (loaded.instance, loaded.head) if loaded else (None, "")
        if not _goes_on(events, way):
            self._outlets.publications.admit(definition, len(events))
        new = codec.encoded(definition, before, decided, head)
        at = Standing(definition, instance, self._now())
        name = (instance.spec.tenant, instance.spec.workflow_id)
        start = perf_counter()
        try:
            claim = await self._store.append(self._batch(at, before, new, way))
        except Aborted:
            self._known.drop(name)
            raise
        self._appended(before, decided, perf_counter() - start)
        after = Loaded(definition, instance, new.head)
        self._remember(name, after)
        await self._tell(instance, new)
        return Appended(after, way.claim if _is_held(at, way) else claim)

    def _appended(self, before: Instance | None, decided: Decided, seconds: float) -> None:
        """Something was decided, and it took so long to store it."""
        self.measures.appended(before, decided[0])

    def _batch(self, at: Standing, before: Instance | None, new: Encoded, way: _Way) -> Append:
        instance = at.instance
        step = next_step(at)
        is_snapshot_due = before is not None and snapshots.is_due(before, instance)
        keeps = way.keeps or is_snapshot_due
        return Append(
            instance.spec.tenant,
            instance.spec.workflow_id,
            before.sequence if before else 0,
            new.stored,
            snapshot=snapshots.written(instance, new.head) if keeps else None,
            claim=way.claim,
            work=None if _is_held(at, way) else self._wanted(at, way),
            is_done=isinstance(step, Over),
            records=[record(at, new.head)] if new.stored else way.marks,
            outbox=self._outlets.publications.messages(at.definition, new),
            key=way.key,
        )

    def _wanted(self, at: Standing, way: _Way) -> Work | None:
        """That somebody is to work on it, and from when on."""
        step = next_step(at)
        if isinstance(step, Over):
            return None
        is_shared = way.claim is None
        if isinstance(step, Rest | Look):
            delay = max(step.until - at.now, timedelta(0)) if step.until else FAR
            return Work(KIND, delay=delay, is_shared=is_shared)
        if way.takes:
            return replace(self._work, is_shared=is_shared)
        return Work(KIND, is_shared=is_shared)

    def _remember(self, name: tuple[str, str], loaded: Loaded) -> None:
        """What is over is hardly asked for again."""
        if loaded.instance.is_closed:
            self._known.drop(name)
        else:
            self._known.put(name, loaded)

    async def _tell(self, instance: Instance, new: Encoded) -> None:
        first = instance.sequence - len(new.stored) + 1
        entries = [Entry(number, event.body) for number, event in enumerate(new.stored, first)]
        topic = _topic(instance.spec.tenant, instance.spec.workflow_id)
        if entries:
            await self._outlets.hot.publish(topic, entries)

    async def _replayed(self, tenant: str, workflow_id: str) -> Loaded:
        return await replayed(self._store, self._definitions, tenant, workflow_id)

    async def _read(
        self, tenant: str, workflow_id: str, after: int, limit: int
    ) -> Sequence[StoredEvent]:
        if not workflow_id.startswith(PREFIX):
            raise missing(workflow_id)
        page = await self._store.read(tenant, workflow_id, after=after, limit=limit)
        if not page and not await self._store.read(tenant, workflow_id, limit=1):
            raise missing(workflow_id)
        return page

    async def _last(self, tenant: str, workflow_id: str) -> tuple[int, bool]:
        found = await self._store.record(tenant, RECORD, workflow_id)
        if found is not None and (sequence := sequence_of(found)):
            return sequence, is_closed(found)
        instance = (await self._replayed(tenant, workflow_id)).instance
        return instance.sequence, instance.is_closed


def _is_held(at: Standing, way: _Way) -> bool:
    """Whether the worker that appends this keeps the workflow."""
    if way.claim is None:
        return False
    step = next_step(at)
    if isinstance(step, Rest):
        return step.until is not None and step.until - at.now <= LINGER
    return not isinstance(step, Over | Look)


def _goes_on(events: Sequence[ev.Event], way: _Way) -> bool:
    """Whether a bus that is away does not hold this up: what was begun, and its end."""
    return way.claim is not None or any(isinstance(each, ev.CancelRequested) for each in events)


def _mark(workflow_id: str, *, is_abandoned: bool) -> Record:
    """That nobody takes a workflow up, so that it is known when its events are restored."""
    return Record(ABANDONED, workflow_id, {ABANDONED: is_abandoned}, b"")


def _topic(tenant: str, workflow_id: str) -> str:
    return f"{tenant}/{workflow_id}"
