"""Who is next in a session, where tasks do not begin, or end while they wait."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.chassis.errors import Aborted, FailedPrecondition, ServiceError, Unavailable
from services.chassis.eventlog.port import Append, Claim
from services.chassis.hotstore.memory import MemoryHotStore
from services.orchestrator.domain import events as ev
from services.orchestrator.domain import session as ss
from services.orchestrator.domain.place import Place
from services.orchestrator.domain.task import State, Task
from services.orchestrator.places import GRACE
from services.orchestrator.run import Run
from tests.unit.orchestrator.fakes import (
    NOW,
    REQUEST,
    SPEC,
    Bench,
    bench,
    caller,
    end_of,
    pass_time,
)

SESSION = SPEC.session_id


async def asked(it: Bench, **changes: Any) -> Task:
    """A turn that goes on in the background."""
    request = replace(REQUEST, session_id=SESSION, **changes)
    return await it.tasks.create(request, caller())


async def session(it: Bench) -> ss.Session:
    found = await it.sessions.find("default", SESSION)
    assert found is not None
    return found


async def lost_turn(it: Bench, follows: str = "") -> None:
    """A turn whose starter was lost before its task began."""
    if not follows:
        await it.ended()
    found = await session(it)
    added = ss.TurnAdded(it.clock(), found.turns + 1, "task_lost", follows)
    await it.sessions.append(found, [added])


def run_of(it: Bench, task: Task) -> Run:
    run = it.worker.find("default", task.spec.task_id)
    assert run is not None
    return run


def counted(it: Bench) -> Callable[[], int]:
    """How often the store is read from now on."""
    reads = 0

    def counting(read: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def count(*given: Any, **named: Any) -> Any:
            nonlocal reads
            reads += 1
            return await read(*given, **named)

        return count

    store: Any = it.log.store
    store.read, store.record = counting(store.read), counting(store.record)
    return lambda: reads


async def followers(it: Bench, count: int, end: ev.Event) -> tuple[Task, Claim]:
    """A session whose tasks waited each for the one before, ran and ended so; the last one runs."""
    first = await it.ended()
    found, before = await session(it), first.spec.task_id
    for number in range(count):
        added = ss.TurnAdded(it.clock(), found.turns + 1, f"task_c{number}", before)
        found = await it.sessions.append(found, [added])
        place = Place(found.turns, found.sequence, before)
        spec = replace(SPEC, task_id=added.task_id, place=place)
        task, claim = await it.log.begin(ev.Queued(it.clock(), spec), None)
        task = await it.log.append(task, [ev.Claimed(it.clock(), None)], claim)
        before = added.task_id
        if number < count - 1:
            await it.log.append(task, [end], claim)
    return task, claim


async def test_a_turn_that_may_still_begin_keeps_others_out() -> None:
    async with bench() as it:
        await lost_turn(it)

        with pytest.raises(FailedPrecondition) as caught:
            await asked(it)

    assert (caught.value.reason, caught.value.metadata["task_id"]) == ("SESSION_BUSY", "task_lost")


async def test_a_turn_that_never_began_is_void_after_a_while() -> None:
    async with bench() as it:
        await lost_turn(it)
        it.clock.advance(GRACE)

        task = await end_of(run_of(it, await asked(it)))

    assert (task.state, task.spec.place.turn, task.spec.place.follows) == (State.COMPLETED, 3, "")
    assert [each.content for each in it.models.asked[-1].messages[1:]] == ["Hello"] * 3


async def test_who_waits_for_a_turn_that_never_begins_starts_in_the_end() -> None:
    async with bench() as it:
        await lost_turn(it)
        began = it.now()
        task = await asked(it, on_busy="enqueue")
        took = it.now() - began

    assert took == pytest.approx(GRACE.total_seconds(), abs=0.1)
    assert task.spec.place == Place(3, 4)


@pytest.mark.parametrize("policy", ["enqueue", "reject"])
async def test_a_turn_that_never_began_hides_nobody_that_it_waited_for(policy: str) -> None:
    async with bench((asyncio.Event(),)) as it:
        first = await it.submit()
        await lost_turn(it, follows=first.spec.task_id)
        it.clock.advance(GRACE)

        if policy == "enqueue":
            task = await asked(it, on_busy="enqueue")
            it.worker.cancel(run_of(it, task), "enough")
            assert task.spec.place.follows == first.spec.task_id
        else:
            with pytest.raises(FailedPrecondition) as caught:
                await asked(it)
            assert caught.value.metadata["task_id"] == first.spec.task_id
        it.worker.cancel(first, "enough")


async def test_a_turn_that_begins_a_moment_later_is_waited_for() -> None:
    async with bench(("Hello",), (asyncio.Event(),)) as it:
        await lost_turn(it)
        waiting = asyncio.create_task(asked(it, on_busy="enqueue"))
        await pass_time(0.5)
        first = await it.submit(task_id="task_lost", place=Place(2, 3))
        second = await waiting
        it.worker.cancel(first, "enough")
        it.worker.cancel(run_of(it, second), "enough")

    assert second.spec.place.follows == "task_lost"


async def test_a_task_that_is_refused_gives_its_turn_back() -> None:
    async with bench(max_running=1, max_queued=0) as it:
        await it.ended()
        it.log.refuses, it.log.refusal = ev.Started, ServiceError("REFUSED", "no")
        with pytest.raises(ServiceError):
            await asked(it)
        last = (await session(it)).last
        it.log.refuses = type(None)
        task = await end_of(run_of(it, await asked(it)))

    assert last == ""
    assert task.state is State.COMPLETED


async def test_who_waits_for_a_task_that_is_refused_goes_on_at_once() -> None:
    async with bench() as it:
        await it.ended()
        it.log.holds = it.log.refuses = ev.Started
        it.log.refusal = ServiceError("REFUSED", "no")
        first = asyncio.create_task(asked(it))
        await it.log.holding.wait()
        second = asyncio.create_task(asked(it, on_busy="enqueue"))
        await pass_time(1)
        it.log.let_go.set()
        with pytest.raises(ServiceError):
            await first
        it.log.refuses, began = type(None), it.now()
        task = await end_of(run_of(it, await second))

        assert it.now() - began < 1
    assert (task.state, task.spec.place) == (State.COMPLETED, Place(3, 5))


async def test_a_task_that_may_have_begun_keeps_its_turn() -> None:
    async with bench() as it:
        await it.ended()
        it.log.refuses, it.log.refusal = ev.Started, Unavailable("EVENT_STORE_UNAVAILABLE", "gone")
        with pytest.raises(Unavailable):
            await asked(it)

        assert (await session(it)).last.startswith("task_")


async def test_a_waiting_turn_is_bounded_as_all_that_waits_is() -> None:
    async with bench((asyncio.Event(),), max_running=4, max_queued=2) as it:
        first = await it.submit()
        waiting = [run_of(it, await asked(it, on_busy="enqueue")) for _ in range(2)]
        with pytest.raises(ServiceError) as caught:
            await asked(it, on_busy="enqueue")
        last = (await session(it)).last
        for run in (*waiting, first):
            it.worker.cancel(run, "enough")

    assert caught.value.reason == "TOO_MANY_TASKS"
    assert last == waiting[-1].spec.task_id


async def test_one_that_is_taken_over_while_it_waits_still_waits() -> None:
    go = asyncio.Event()
    async with bench((go, "One"), ("Two",)) as it:
        first = await it.submit()
        second = run_of(it, await asked(it, on_busy="enqueue"))
        second.give_up()
        it.worker._hurry(second)
        await second.done.wait()
        assert second.claim is not None
        again = await it.worker.take_up(it.world, second.claim)
        await pass_time(5)
        state = again.task.state
        go.set()
        task = await end_of(again)

    assert (state, task.state, first.task.state) == (
        State.PENDING,
        State.COMPLETED,
        State.COMPLETED,
    )
    assert [each.content for each in it.models.asked[-1].messages[1:]] == ["Hello", "One", "Hello"]


async def test_a_session_that_always_changes_is_given_up() -> None:
    async with bench() as it:
        await it.ended()
        append = it.log.store.append

        async def conflicting(batch: Append) -> Any:
            if batch.stream_id == SESSION:
                raise Aborted("SEQUENCE_CONFLICT", "no")
            return await append(batch)

        it.log.store.append = conflicting  # type: ignore[method-assign]
        with pytest.raises(Aborted) as caught:
            await asked(it)

    assert caught.value.reason == "SESSION_CONTENDED"
    assert caught.value.retry_after == timedelta(seconds=1)


async def gone(it: Bench, writes: str) -> None:
    """A caller goes away while its turn, or its task, is on the way to the store; it arrives."""
    append = it.log.store.append
    landing: list[asyncio.Task[Any]] = []

    async def late(batch: Append) -> Any:
        if not batch.stream_id.startswith(writes) or landing:
            return await append(batch)

        async def land() -> Any:
            it.log.holding.set()
            await it.log.let_go.wait()
            return await append(batch)

        landing.append(asyncio.create_task(land()))
        return await asyncio.shield(landing[0])

    it.log.store.append = late  # type: ignore[method-assign]
    leaving = asyncio.create_task(asked(it))
    await it.log.holding.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    it.log.let_go.set()
    await landing[0]


async def test_a_caller_who_goes_away_before_its_task_begins_keeps_nobody_out() -> None:
    async with bench() as it:
        await it.ended()
        it.log.holds = ev.Started
        leaving = asyncio.create_task(asked(it))
        await it.log.holding.wait()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        it.log.holds = type(None)
        task = await end_of(run_of(it, await asked(it)))

    assert (task.state, task.spec.place) == (State.COMPLETED, Place(3, 5))


async def test_a_caller_who_goes_away_while_its_turn_is_written_keeps_nobody_out() -> None:
    async with bench() as it:
        await it.ended()
        await gone(it, "session_")
        task = await end_of(run_of(it, await asked(it)))

    assert (task.state, task.spec.place) == (State.COMPLETED, Place(3, 5))


async def test_a_caller_who_goes_away_while_its_task_is_written_leaves_it_its_turn() -> None:
    async with bench() as it:
        await it.ended()
        await gone(it, "task_")
        await pass_time(2)
        found = await session(it)

    assert (found.sequence, found.follows) == (3, "")
    assert await it.log.load("default", found.last)


async def test_who_follows_reads_little_while_the_task_before_goes_on() -> None:
    async with bench() as it:
        task, claim = await it.log.begin(ev.Started(it.clock(), SPEC), None)
        place = Place(2, 3, SPEC.task_id)
        following = asyncio.create_task(it.world.places.passed(replace(SPEC, place=place)))
        await pass_time(0.01)
        reads = counted(it)
        for _ in range(100):
            task = await it.log.append(task, [ev.TextAdded(it.clock(), 1, 1, "x")], claim)
            await pass_time(0.01)
        while_it_speaks = reads()
        await pass_time(10)
        while_it_is_silent = reads() - while_it_speaks
        await it.log.append(task, [ev.Canceled(it.clock(), "enough")], claim)
        began = it.now()
        await following

        assert it.now() == began
    assert while_it_speaks == 0
    assert while_it_is_silent < 20


async def test_who_follows_sees_an_end_that_nobody_told_of() -> None:
    async with bench() as it:
        task, claim = await it.log.begin(ev.Started(it.clock(), SPEC), None)
        place = Place(2, 3, SPEC.task_id)
        following = asyncio.create_task(it.world.places.passed(replace(SPEC, place=place)))
        await pass_time(5)
        it.log._hot = MemoryHotStore()
        await it.log.append(task, [ev.Canceled(it.clock(), "enough")], claim)
        began = it.now()
        await following

        assert it.now() - began <= 1


@pytest.mark.parametrize("end", [ev.Completed(NOW), ev.Canceled(NOW, "enough")])
async def test_one_that_ran_says_that_those_before_it_ended(end: ev.Event) -> None:
    async with bench() as it:
        last, _ = await followers(it, 50, end)
        found = await session(it)
        canceled: list[str] = []

        async def cancel(task: Task, reason: str) -> Task:
            canceled.append(task.spec.task_id)
            return task

        reads = counted(it)
        await it.world.places.close(found, "enough", cancel)

    assert canceled == [last.spec.task_id]
    assert reads() < 10


async def test_a_turn_after_many_that_were_canceled_reads_little() -> None:
    async with bench() as it:
        end = ev.Canceled(NOW, "enough")
        last, claim = await followers(it, 50, end)
        await it.log.append(last, [end], claim)
        reads = counted(it)
        task = await asked(it, tool_choice="none")
        count = reads()
        await end_of(run_of(it, task))

    assert task.spec.place.follows == ""
    assert count < 60


async def test_those_that_were_canceled_while_they_waited_hide_nobody_before_them() -> None:
    async with bench((asyncio.Event(),)) as it:
        first = await it.submit()
        for task in [await asked(it, on_busy="enqueue") for _ in range(2)]:
            await it.tasks.cancel(caller(), task.spec.task_id, reason="enough")
        with pytest.raises(FailedPrecondition) as caught:
            await asked(it)
        it.worker.cancel(first, "enough")

    assert caught.value.metadata["task_id"] == first.spec.task_id


async def test_who_waits_for_a_turn_to_begin_looks_less_and_less() -> None:
    async with bench() as it:
        await lost_turn(it)
        reads = counted(it)
        await asked(it, on_busy="enqueue")

        assert reads() < 100
