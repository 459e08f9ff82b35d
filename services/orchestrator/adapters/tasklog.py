"""Tasks' logs on an event store, with live fan-out through a hot store."""

from collections.abc import AsyncGenerator, Sequence
from typing import Final

from services.chassis.errors import NotFound
from services.chassis.eventlog.port import Append, EventStore, StoredEvent
from services.chassis.hotstore.port import Entry, HotStore
from services.orchestrator.adapters import codec
from services.orchestrator.domain.events import Event
from services.orchestrator.domain.task import Task, evolve, replay

_PAGE: Final = 256


class EventStoreTaskLog:
    """A stream for each task, named by its id. What was appended is published at once."""

    def __init__(self, store: EventStore, hot: HotStore) -> None:
        self._store = store
        self._hot = hot

    async def append(self, task: Task | None, events: Sequence[Event]) -> Task:
        """Add events; the task as it stands then."""
        expected = task.sequence if task else 0
        new = []
        for event in events:
            task = evolve(task, event)
            new.append(codec.encode(event, task))
        if task is None:
            raise ValueError("nothing to append")
        tenant, task_id = task.spec.tenant, task.spec.task_id
        await self._store.append(Append(tenant, task_id, expected, new))
        entries = [Entry(expected + n, event.body) for n, event in enumerate(new, 1)]
        await self._hot.publish(_topic(tenant, task_id), entries)
        return task

    async def load(self, tenant: str, task_id: str) -> Task:
        """A task as its log says."""
        history: list[Event] = []
        while page := await self._read(tenant, task_id, len(history)):
            history.extend(map(codec.decode, page))
        return replay(history)

    async def watch(self, tenant: str, task_id: str, *, after: int) -> AsyncGenerator[bytes, None]:
        """Events after a sequence: first from the store, then as they are published.

        What the hot store loses is read from the event store, at the watcher's own pace.
        """
        async with self._hot.subscribe(_topic(tenant, task_id)) as subscription:
            page = await self._read(tenant, task_id, after)
            if not page and (await self.load(tenant, task_id)).is_closed:
                return
            entries = _entries(page)
            while True:
                for entry in entries:
                    yield entry.body
                    after = entry.sequence
                if entries and codec.closes(entries[-1].body):
                    return
                if len(entries) < _PAGE:
                    heard = await subscription.next()
                    if heard[-1].sequence <= after and codec.closes(heard[-1].body):
                        return  # It ended before the sequence that was asked for.
                    entries = [entry for entry in heard if entry.sequence > after]
                if not entries or entries[0].sequence != after + 1 or len(entries) == _PAGE:
                    entries = _entries(await self._read(tenant, task_id, after))

    async def _read(self, tenant: str, task_id: str, after: int) -> Sequence[StoredEvent]:
        page = await self._store.read(tenant, task_id, after=after, limit=_PAGE)
        if not page and not await self._store.read(tenant, task_id, limit=1):
            raise NotFound(
                "TASK_NOT_FOUND",
                f"there is no task {task_id[:64]}",
                field="task_id",
                task_id=task_id[:64],
                suggested_fix="use the task_id of a task that began since the orchestrator did",
            )
        return page


def _entries(events: Sequence[StoredEvent]) -> list[Entry]:
    return [Entry(event.sequence, event.body) for event in events]


def _topic(tenant: str, task_id: str) -> str:
    return f"{tenant}/{task_id}"
