"""Tasks' logs on an event store, with live fan-out through a hot store."""

from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from time import perf_counter
from typing import Final

from services.chassis.errors import Internal, NotFound, ServiceError
from services.chassis.eventlog.port import (
    Append,
    Claim,
    Condition,
    EventStore,
    Kept,
    Key,
    NewEvent,
    Query,
    StoredEvent,
    Work,
)
from services.chassis.hotstore.port import Entry, HotStore
from services.chassis.watching import Ear, Log, watched
from services.orchestrator.adapters import accounts, codec, snapshots
from services.orchestrator.adapters.desk import KIND
from services.orchestrator.adapters.sessionstore import opened
from services.orchestrator.adapters.values import Values, unkept
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.large import Large, LargeTexts
from services.orchestrator.domain.request import Request
from services.orchestrator.domain.task import CLOSED, STILL, State, Task, evolve, replay
from services.orchestrator.measures import Measures

_PAGE: Final = 256
PREFIX: Final = "task_"
SNAPSHOT_EVERY: Final = 1000  # Events, about.


class EventStoreTaskLog:
    """A stream for each task, named by its id. What was appended is published at once."""

    def __init__(
        self,
        store: EventStore,
        hot: HotStore,
        *,
        owner: str,
        lease: timedelta,
        values: Values | None = None,
    ) -> None:
        self.measures = Measures()
        self._values = values or Values()
        self._store = store
        self._hot = hot
        self._work = Work(KIND, owner, lease)

    async def begin(self, event: ev.Queued | ev.Started, key: Key | None) -> tuple[Task, Claim]:
        """See `TaskLog`."""
        task = evolve(None, event)
        tenant, task_id = task.spec.tenant, task.spec.task_id
        new = [codec.encode(event, task)]
        records = [codec.record(task)]
        if not (task.spec.place.sequence or task.spec.parent_task_id or task.spec.call):
            records.append(opened(task))
        batch = Append(tenant, task_id, 0, new, work=self._work, records=records, key=key)
        start = perf_counter()
        claim = await self._store.append(batch)
        self._appended(None, task, (event,), perf_counter() - start)
        if claim is None:
            raise Internal("CLAIM_MISSING", f"{task_id} began without a claim", task_id=task_id)
        await self._publish(task, new)
        return task, claim

    def shortened(self, request: Request) -> tuple[Request, LargeTexts]:
        """See `TaskLog`."""
        return self._values.shortened(request)

    async def keep(self, tenant: str, request: Request, large: LargeTexts) -> None:
        """See `TaskLog`."""
        await self._values.keep(tenant, request, large)

    async def kept(self, tenant: str, key: Key) -> Kept | None:
        """See `TaskLog`."""
        return await self._store.kept(tenant, key.scope, key.key)

    async def page(
        self, tenant: str, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """See `TaskLog`."""
        found = await self._store.records(Query(tenant, codec.RECORD, where, after, limit))
        return [(record.id, record.body) for record in found]

    async def append(
        self,
        task: Task,
        events: Sequence[ev.Event],
        claim: Claim,
        *,
        answered: Sequence[int] = (),
        stored: Callable[[Task], None] | None = None,
    ) -> Task:
        """See `TaskLog`."""
        events = await self._values.kept(task.spec.tenant, events)
        before, new = task, []
        for event in events:
            task, written = _after(task, event)
            new.append(written)
        tenant, task_id = task.spec.tenant, task.spec.task_id
        start = perf_counter()
        await self._store.append(
            Append(
                tenant,
                task_id,
                before.sequence,
                new,
                claim=claim,
                is_done=task.is_closed,
                answered=answered,
                records=[codec.record(task)] if task.state is not before.state else (),
                snapshot=await self._snapshot(task, new),
                tallies=accounts.tallies(task.spec, events),
                spent=[task_id] if accounts.ends_a_call(events) else (),
            )
        )
        self._appended(before, task, events, perf_counter() - start)
        if stored is not None:
            stored(task)
        if new:
            await self._publish(task, new)
        return task

    async def park(self, task: Task, claim: Claim, *, delay: timedelta) -> None:
        """See `TaskLog`."""
        work = Work(KIND, delay=delay)
        batch = Append(
            task.spec.tenant, task.spec.task_id, task.sequence, (), claim=claim, work=work
        )
        await self._store.append(batch)

    async def load(self, tenant: str, task_id: str) -> Task:
        """A task as its log says."""
        task: Task | None = None
        page = await self._read(tenant, task_id, 0)
        if len(page) == _PAGE and (kept := await self._store.snapshot(tenant, task_id)):
            before = [codec.decode(event, tenant) for event in snapshots.unpacked(kept.body)]
            task = replace(replay(before), sequence=kept.sequence)
            page = await self._read(tenant, task_id, kept.sequence)
        task = _evolved(task, page, tenant)
        return await self.advance(task) if len(page) == _PAGE else task

    async def advance(self, task: Task) -> Task:
        """See `TaskLog`."""
        tenant, task_id = task.spec.tenant, task.spec.task_id
        while page := await self._store.read(tenant, task_id, after=task.sequence, limit=_PAGE):
            task = _evolved(task, page, tenant)
            if len(page) < _PAGE:
                break
        return task

    async def value(self, tenant: str, large: Large, *, offset: int, length: int) -> bytes:
        """See `TaskLog`."""
        return await self._values.get(tenant, large, offset=offset, length=length)

    async def until_end(self, tenant: str, task_id: str) -> None:
        """See `TaskLog`."""
        await self._until(tenant, task_id, CLOSED)

    async def until_still(self, tenant: str, task_id: str) -> None:
        """See `TaskLog`."""
        await self._until(tenant, task_id, STILL)

    def _appended(
        self, before: Task | None, after: Task, events: Sequence[ev.Event], seconds: float
    ) -> None:
        """Events were stored, in so much time."""
        self.measures.appended(before, after, events)

    async def _until(self, tenant: str, task_id: str, states: Collection[State]) -> None:
        """Its record is looked at only while nothing is published."""
        async with self._hot.subscribe(_topic(tenant, task_id)) as subscription:
            ear = Ear(subscription)
            while (found := await self._store.record(tenant, codec.RECORD, task_id)) is not None:
                if codec.state(found) in states:
                    return
                while heard := await ear.next():
                    if codec.state_after(heard[-1].body) in states:
                        return

    def watch(self, tenant: str, task_id: str, *, after: int) -> AsyncGenerator[bytes, None]:
        """See `TaskLog`."""
        log = Log(
            _topic(tenant, task_id),
            read=partial(self._read, tenant, task_id),
            last=partial(self._last, tenant, task_id),
            closes=codec.closes,
        )
        return watched(self._hot, log, after=after)

    async def _snapshot(self, task: Task, new: Sequence[NewEvent]) -> bytes | None:
        """What a long log adds up to with these events, now and then, so that nobody reads all."""
        after = task.sequence - len(new)
        if task.is_closed or after // SNAPSHOT_EVERY == task.sequence // SNAPSHOT_EVERY:
            return None
        tenant, task_id = task.spec.tenant, task.spec.task_id
        kept = await self._store.snapshot(tenant, task_id)
        events = list(snapshots.unpacked(kept.body)) if kept else []
        since = kept.sequence if kept else 0
        while page := await self._store.read(tenant, task_id, after=since):
            events += [NewEvent(event.type, event.time, event.body) for event in page]
            since = page[-1].sequence
        return snapshots.packed(snapshots.merged([*events, *new]))

    async def _last(self, tenant: str, task_id: str) -> tuple[int, bool]:
        """The sequence of a task's last event, and whether it ends the task."""
        task = await self.load(tenant, task_id)
        return task.sequence, task.is_closed

    async def _publish(self, task: Task, new: Sequence[NewEvent]) -> None:
        first = task.sequence - len(new) + 1
        entries = [Entry(number, event.body) for number, event in enumerate(new, first)]
        await self._hot.publish(_topic(task.spec.tenant, task.spec.task_id), entries)

    async def _read(
        self, tenant: str, task_id: str, after: int, limit: int = _PAGE
    ) -> Sequence[StoredEvent]:
        if not task_id.startswith(PREFIX):  # The store has streams of other kinds, too.
            raise _missing(task_id)
        page = await self._store.read(tenant, task_id, after=after, limit=limit)
        if not page and not await self._store.read(tenant, task_id, limit=1):
            raise _missing(task_id)
        return page


def _missing(task_id: str) -> NotFound:
    return NotFound(
        "TASK_NOT_FOUND",
        f"there is no task {task_id[:64]}",
        field="task_id",
        task_id=task_id[:64],
        suggested_fix="use a task_id of GET /v1/tasks",
    )


def _after(task: Task, event: ev.Event) -> tuple[Task, NewEvent]:
    """A task after an event, and what is stored of that. An output that cannot be, as one that is
    nested too deeply, is a call that failed: the agent is told, and goes on."""
    after = evolve(task, event)
    try:
        return after, codec.encode(event, after)
    except ServiceError as error:
        if not isinstance(event, ev.ToolReturned) or event.failure is not None:
            raise
        return _after(task, unkept(event, error))


def _topic(tenant: str, task_id: str) -> str:
    return f"{tenant}/{task_id}"


def _evolved(task: Task | None, page: Sequence[StoredEvent], tenant: str) -> Task:
    """A task after these events, of which there are some when there is no task yet."""
    for event in page:
        task = evolve(task, codec.decode(event, tenant))
    if task is None:
        raise KeyError("a log has at least one event")
    return task
