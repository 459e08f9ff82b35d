import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import pytest
from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from services.chassis.errors import Aborted, NotFound
from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.eventlog.port import StoredEvent
from services.chassis.hotstore.memory import MemoryHotStore
from services.chassis.hotstore.port import Entry
from services.orchestrator.adapters import codec
from services.orchestrator.adapters.tasklog import SNAPSHOT_EVERY, EventStoreTaskLog
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.task import Task, replay
from tests.unit.orchestrator.fakes import NOW, SPEC, pass_time


class ForgetfulHotStore(MemoryHotStore):
    """Loses what is published while it forgets."""

    def __init__(self) -> None:
        super().__init__()
        self.forgets = False

    async def publish(self, topic: str, entries: Sequence[Entry]) -> None:
        """See `HotStore`."""
        if not self.forgets:
            await super().publish(topic, entries)


class Watched:
    """A task's log, someone who watches it, and what they have seen."""

    def __init__(self, *, after: int = 0) -> None:
        self.hot = ForgetfulHotStore()
        lease = timedelta(seconds=8)
        self.log = EventStoreTaskLog(MemoryEventStore(), self.hot, owner="worker_1", lease=lease)
        self.after = after
        self.seen: list[int] = []
        self.task: Task | None = None

    async def add(self, *happened: ev.Event) -> None:
        """More happens; the watcher gets to see it."""
        events: Sequence[ev.Event] = happened
        if self.task is None:
            first, *events = events
            assert isinstance(first, ev.Started)
            self.task, self.claim = await self.log.begin(first, None)
        if events:
            self.task = await self.log.append(self.task, events, self.claim)
        await pass_time(0.001)

    async def say(self, times: int) -> None:
        """More of an answer."""
        await self.add(*(ev.TextAdded(NOW, 1, 1, "x") for _ in range(times)))

    async def watch(self) -> None:
        """See the log to its end."""
        async with aclosing(self.watching()) as events:
            async for event in events:
                self.seen.append(pb.TaskEvent.FromString(event).sequence)

    def watching(self) -> AsyncGenerator[bytes, None]:
        """The events."""
        return self.log.watch(SPEC.tenant, SPEC.task_id, after=self.after)


async def test_what_the_hot_store_loses_is_read_from_the_event_store() -> None:
    it = Watched()
    await it.add(ev.Started(NOW, SPEC))
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(it.watch())
        await pass_time(0.001)
        it.hot.forgets = True
        await it.say(3)
        it.hot.forgets = False
        await it.say(1)
        await it.add(ev.Completed(NOW))

    assert it.seen == [1, 2, 3, 4, 5, 6]


async def test_who_is_told_nothing_soon_sees_what_happens() -> None:
    it = Watched()
    it.hot.forgets = True
    await it.add(ev.Started(NOW, SPEC))
    late: list[float] = []
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(it.watch())
        await pass_time(10)  # It has become patient.
        for number in range(2, 12):
            await it.say(1)
            said_at = asyncio.get_running_loop().time()
            while it.seen[-1] < number:
                await pass_time(0.001)
            late.append(asyncio.get_running_loop().time() - said_at)
        await it.add(ev.Completed(NOW))

    assert it.seen == list(range(1, 13))
    assert late[0] < 1.1
    assert max(late[1:]) < 0.11


async def test_who_watches_a_task_that_rests_looks_once_a_second() -> None:
    it = Watched()
    await it.add(ev.Started(NOW, SPEC))
    reads = 0
    read = it.log._read

    async def counted(*what: Any) -> Sequence[StoredEvent]:
        nonlocal reads
        reads += 1
        return await read(*what)

    it.log._read = counted  # type: ignore[method-assign]
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        group.create_task(it.watch())
        await pass_time(60)
        looked = reads
        await it.add(ev.Completed(NOW))

    assert 55 < looked < 70


async def test_a_watcher_that_is_too_slow_misses_nothing() -> None:
    it = Watched()
    await it.add(ev.Started(NOW, SPEC))
    async with asyncio.timeout(5), aclosing(it.watching()) as events:
        first = await anext(events)
        for _ in range(3):
            await it.say(300)
        await it.add(ev.Completed(NOW))
        rest = [event async for event in events]

    seen = [pb.TaskEvent.FromString(event).sequence for event in (first, *rest)]
    assert seen == list(range(1, 903))


async def test_a_watcher_beyond_the_end_leaves_when_the_task_ends() -> None:
    it = Watched(after=99)
    await it.add(ev.Started(NOW, SPEC))
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(it.watch())
        await pass_time(0.001)
        await it.say(1)
        await it.add(ev.Completed(NOW))

    assert it.seen == []


@pytest.mark.parametrize("after", [3, 4, 99])
async def test_a_watcher_beyond_the_end_of_an_ended_task_leaves_at_once(after: int) -> None:
    it = Watched(after=after)
    await it.add(ev.Started(NOW, SPEC), ev.TextAdded(NOW, 1, 1, "x"), ev.Completed(NOW))

    async with asyncio.timeout(5):
        await it.watch()

    assert it.seen == []


async def test_a_watcher_that_is_ahead_waits_for_what_it_asked_for() -> None:
    it = Watched(after=3)
    await it.add(ev.Started(NOW, SPEC))
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(it.watch())
        await pass_time(0.001)
        for _ in range(4):
            await it.say(1)
        await it.add(ev.Completed(NOW))

    assert it.seen == [4, 5, 6]


async def test_a_watcher_that_is_ahead_and_told_nothing_sees_what_it_asked_for() -> None:
    it = Watched(after=3)
    it.hot.forgets = True
    await it.add(ev.Started(NOW, SPEC))
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(it.watch())
        await pass_time(0.001)
        await it.say(4)
        await it.add(ev.Completed(NOW))

    assert it.seen == [4, 5, 6]


@pytest.mark.parametrize("count", [15, 16, 17, 254, 255, 256, 600])
async def test_a_log_of_many_pages_is_seen_whole(count: int) -> None:
    it = Watched()
    await it.add(ev.Started(NOW, SPEC))
    await it.say(count)
    await it.add(ev.Completed(NOW))

    async with asyncio.timeout(5):
        await it.watch()

    assert it.seen == list(range(1, count + 3))
    assert (await it.log.load(SPEC.tenant, SPEC.task_id)) == it.task


async def test_of_two_that_write_the_second_is_told() -> None:
    it = Watched()
    await it.add(ev.Started(NOW, SPEC))
    before = it.task
    assert before is not None
    await it.say(1)

    with pytest.raises(Aborted) as caught:
        await it.log.append(before, [ev.Completed(NOW)], it.claim)

    assert caught.value.reason == "SEQUENCE_CONFLICT"


@pytest.mark.parametrize(("tenant", "task_id"), [("other", SPEC.task_id), (SPEC.tenant, "task_2")])
async def test_a_log_that_is_not_there_cannot_be_watched(tenant: str, task_id: str) -> None:
    it = Watched()
    await it.add(ev.Started(NOW, SPEC))

    with pytest.raises(NotFound) as caught:
        async with aclosing(it.log.watch(tenant, task_id, after=0)) as events:
            await anext(events)

    assert caught.value.reason == "TASK_NOT_FOUND"


class CountingStore(MemoryEventStore):
    """Counts the events that are read."""

    def __init__(self) -> None:
        super().__init__()
        self.read_events = 0

    async def read(
        self, tenant: str, stream_id: str, *, after: int = 0, limit: int = 1000
    ) -> Sequence[StoredEvent]:
        """See `EventStore`."""
        page = await super().read(tenant, stream_id, after=after, limit=limit)
        self.read_events += len(page)
        return page


@pytest.mark.parametrize("appends", [1, 7])
async def test_a_long_log_is_read_from_its_snapshot_and_adds_up_to_the_same(appends: int) -> None:
    store = CountingStore()
    lease = timedelta(seconds=8)
    log = EventStoreTaskLog(store, MemoryHotStore(), owner="worker_1", lease=lease)
    task, claim = await log.begin(ev.Started(NOW, SPEC), None)
    task = await log.append(task, [ev.ThoughtAdded(NOW, 1, 1, "so")], claim)
    for number in range(3 * SNAPSHOT_EVERY // appends):
        text = ev.TextAdded(NOW, 1, 1, f"{number} ")
        task = await log.append(task, [text] * appends, claim)
    store.read_events = 0

    loaded = await log.load("default", "task_1")

    assert loaded == task
    assert store.read_events < 2 * SNAPSHOT_EVERY
    whole = await store.read("default", "task_1", limit=10 * SNAPSHOT_EVERY)
    assert replay([codec.decode(event, "default") for event in whole]) == task
