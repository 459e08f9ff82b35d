import asyncio
import contextvars
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.chassis.context import LOCAL, Principal, current
from services.chassis.errors import ResourceExhausted, Unavailable
from services.chassis.eventlog.port import Append, NewEvent, Work
from services.orchestrator import beginning
from services.orchestrator.adapters import codec
from services.orchestrator.adapters.desk import KIND
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.letters import Cancel, written
from services.orchestrator.domain.place import Place
from services.orchestrator.domain.task import State, replay
from services.orchestrator.worker import on_duty
from tests.unit.orchestrator.fakes import NOW, SPEC, Bench, bench, end_of, pass_time


async def test_a_task_that_waits_still_ends_at_its_deadline() -> None:
    async with bench((asyncio.Event(),), max_running=1) as it:
        first = await it.submit()
        second = await it.submit(task_id="task_2", deadline=NOW + timedelta(seconds=2))
        task = await end_of(second)

        assert not first.done.is_set()
        assert it.now() == pytest.approx(second.deadline)
        assert task.failure is not None
        assert task.failure.reason == "TASK_TIMEOUT"
        first.cancel("enough")


async def test_a_cancel_of_a_task_that_waits_does_not_wait_for_a_place() -> None:
    async with bench((asyncio.Event(),), max_running=1) as it:
        first = await it.submit()
        second = await it.submit(task_id="task_2")
        it.worker.cancel(second, "enough")
        task = await end_of(second)

        assert not first.done.is_set()
        assert task.state is State.CANCELED
        assert it.log.kinds() == ["Started", "Queued", "Canceled"]
        first.cancel("enough")


async def test_a_place_that_a_task_leaves_goes_to_the_one_that_waits_longest() -> None:
    go = asyncio.Event()
    async with bench((go, "Hello"), max_running=1) as it:
        runs = [await it.submit(task_id=f"task_{n}") for n in range(4)]
        states = [run.task.state for run in runs]

        go.set()
        for run in runs:
            await end_of(run)

    assert states == [State.RUNNING] + [State.PENDING] * 3
    assert [run.task.state for run in runs] == [State.COMPLETED] * 4
    assert it.log.ended == [f"task_{n}" for n in range(4)]


async def test_the_longest_wait_is_that_of_the_first_that_has_no_place() -> None:
    go, waits = asyncio.Event(), []
    async with bench((go, "Hello"), max_running=1) as it:
        runs = [await it.submit()]
        waits.append(it.worker.longest_wait())
        for number in (2, 3):
            runs.append(await it.submit(task_id=f"task_{number}"))
            await pass_time(2)
            waits.append(it.worker.longest_wait())
        go.set()
        for run in runs:
            await end_of(run)
        waits.append(it.worker.longest_wait())

    assert waits == [0.0, pytest.approx(2), pytest.approx(4), 0.0]


async def test_one_at_a_time_means_one_at_a_time() -> None:
    async with bench(("Hello",), max_running=1) as it:
        for run in [await it.submit(task_id=f"task_{n}") for n in range(3)]:
            await end_of(run)

    kinds = [kind for kind in it.log.kinds() if kind in ("Claimed", "Completed")]
    assert kinds == ["Completed"] + ["Claimed", "Completed"] * 2


@pytest.mark.parametrize("seconds", [1, 30], ids=["deadline", "cancel"])
async def test_a_task_that_ends_while_it_waits_gives_no_place_to_others(seconds: int) -> None:
    async with bench((asyncio.Event(),), max_running=1) as it:
        first = await it.submit()
        short = NOW + timedelta(seconds=seconds)
        second = await it.submit(task_id="task_2", deadline=short)
        third = await it.submit(task_id="task_3")
        if seconds > 5:
            it.worker.cancel(second, "enough")
        await end_of(second)
        await pass_time(1)
        fourth = await it.submit(task_id="task_4")

        assert [third.task.state, fourth.task.state] == [State.PENDING] * 2
        for run in (third, fourth, first):
            it.worker.cancel(run, "enough")


async def test_beyond_its_bounds_a_worker_takes_nothing() -> None:
    async with bench((asyncio.Event(),), max_running=1, max_queued=1) as it:
        runs = [await it.submit(task_id=f"task_{n}") for n in range(2)]

        with pytest.raises(ResourceExhausted) as caught:
            await it.submit(task_id="task_2")

        assert (caught.value.reason, caught.value.retry_after) == (
            "TOO_MANY_TASKS",
            timedelta(seconds=1),
        )
        for run in runs:
            it.worker.cancel(run, "enough")


async def test_a_task_whose_log_cannot_begin_takes_no_place() -> None:
    async with bench(max_running=1, max_queued=0) as it:
        it.log.refuses, it.log.refusal = ev.Started, Unavailable("EVENT_STORE_UNAVAILABLE", "gone")
        with pytest.raises(Unavailable):
            await it.submit()
        it.log.refuses = ev.Claimed

        task = await it.ended(task_id="task_2")

        assert task.state is State.COMPLETED
        assert it.worker.find("default", "task_1") is None


async def test_a_worker_that_stops_leaves_its_tasks_where_they_are() -> None:
    async with bench((asyncio.Event(),), max_running=1) as it:
        runs = [await it.submit(task_id=f"task_{n}") for n in range(2)]
        await it.models.said.wait()

    assert [run.task.state for run in runs] == [State.RUNNING, State.PENDING]
    with pytest.raises(Unavailable):
        it.worker.check_room()


async def test_a_beginning_that_fails_ends_a_run_that_had_failed_before_it() -> None:
    async with bench((Unavailable("ENGINE_FAILED", "gone"),) * 3) as it:
        it.log.refuses, it.log.refusal = ev.Started, Unavailable("EVENT_STORE_UNAVAILABLE", "gone")
        it.log.holds = ev.Started
        starting = asyncio.create_task(it.submit(deadline=NOW + timedelta(milliseconds=1)))
        await it.log.holding.wait()
        await pass_time(10)
        it.log.let_go.set()

        with pytest.raises(Unavailable):
            await starting
        await pass_time(1)
        it.log.refuses = it.log.holds = type(None)
        room = [await it.submit(task_id=f"task_{n}") for n in range(2, 6)]

    assert {run.task.state for run in room} == {State.RUNNING}


async def test_a_log_that_cannot_be_read_does_not_end_the_others_work() -> None:
    async with bench(("Hello",)) as it:
        bad = NewEvent("task.unheard_of.v9", NOW, b"")
        await it.log.store.append(Append("default", "task_0", 0, [bad], work=Work(KIND)))
        queued = ev.Queued(NOW, SPEC)
        left = Append("default", "task_1", 0, [codec.encode(queued, replay([queued]))])
        await it.log.store.append(replace(left, work=Work(KIND)))
        async with on_duty(it.worker, it.world):
            await pass_time(5)
        task = await it.log.load("default", "task_1")

    assert task.state is State.COMPLETED


async def left(it: Bench, task_id: str = "task_1", **changes: Any) -> None:
    """Leave a task behind."""
    queued = ev.Queued(NOW, replace(SPEC, task_id=task_id, **changes))
    begun = Append("default", task_id, 0, [codec.encode(queued, replay([queued]))])
    await it.log.store.append(replace(begun, work=Work(KIND)))


async def never() -> bool:
    return False


async def test_what_others_left_waits_until_there_are_models() -> None:
    async with bench(("Hello",)) as it:
        await left(it)
        there: list[bool] = []

        async def are_there() -> bool:
            return bool(there)

        async with on_duty(it.worker, it.world, are_there):
            await pass_time(5)
            before = await it.log.load("default", "task_1")
            there.append(True)
            await pass_time(5)
        after = await it.log.load("default", "task_1")

    assert (before.state, after.state) == (State.PENDING, State.COMPLETED)


async def test_models_are_waited_for_although_nobody_asked_for_anything() -> None:
    asked: list[Principal] = []

    async def are_there() -> bool:
        asked.append(current.get().principal)
        return True

    async def started() -> Sequence[Principal]:
        async with bench(("Hello",)) as it, on_duty(it.worker, it.world, are_there):
            await pass_time(1)
        return asked

    nobodys = asyncio.create_task(started(), context=contextvars.Context())

    assert await nobodys == [LOCAL]


async def test_what_others_left_does_not_wait_for_models_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(beginning, "PATIENCE", timedelta(seconds=3))
    async with bench(("Hello",)) as it:
        await left(it)
        async with on_duty(it.worker, it.world, never):
            await pass_time(9)
        task = await it.log.load("default", "task_1")

    assert task.is_closed


async def test_while_there_are_no_models_a_cancel_ends_what_others_left() -> None:
    async with bench(("Hello",)) as it:
        await left(it)
        async with on_duty(it.worker, it.world, never):
            await pass_time(5)
            kind, body = written(Cancel("enough"))
            await it.desk.send("default", "task_1", kind, body)
            await pass_time(2)
            task = await it.log.load("default", "task_1")

    assert (task.state, it.models.asked) == (State.CANCELED, [])


async def test_while_there_are_no_models_what_others_left_ends_at_its_deadline() -> None:
    async with bench(("Hello",)) as it:
        await left(it, deadline=NOW + timedelta(seconds=10))
        async with on_duty(it.worker, it.world, never):
            await pass_time(5)
            it.clock.advance(timedelta(seconds=10))
            await pass_time(10)
            task = await it.log.load("default", "task_1")

    assert task.failure is not None
    assert (task.failure.reason, it.models.asked) == ("TASK_TIMEOUT", [])


async def test_no_more_wait_for_models_than_can_run_at_once() -> None:
    async with bench(("Hello",), max_running=2) as it:
        for number in range(1, 5):
            await left(it, f"task_{number}")
        async with on_duty(it.worker, it.world, never):
            await pass_time(5)
            load = it.worker.load()

    assert load == (0, 2)


async def test_that_tasks_wait_for_models_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with bench(("Hello",)) as it, on_duty(it.worker, it.world, never):
        await pass_time(5)

    assert [line for line in caplog.messages if "wait for models" in line] == [
        "tasks that were left behind wait for models"
    ]


async def test_a_cancel_whose_end_cannot_be_written_is_kept() -> None:
    never = asyncio.Event()
    async with bench(("Hel", never), ("Hello",)) as it:
        run = await it.submit()
        await it.models.said.wait()
        it.log.refuses, it.log.refusal = ev.Canceled, Unavailable("EVENT_STORE_UNAVAILABLE", "gone")
        it.worker.cancel(run, "enough")
        await run.done.wait()
        it.log.refuses = type(None)
        async with on_duty(it.worker, it.world):
            await pass_time(10)
        task = await it.log.load("default", "task_1")

    assert task.state is State.CANCELED


@pytest.mark.parametrize("is_full", [False, True], ids=["at once", "queued"])
@pytest.mark.parametrize(("survives", "state"), [(False, State.CANCELED), (True, State.COMPLETED)])
async def test_a_caller_that_goes_away_while_the_log_begins_has_left_its_task(
    is_full: bool, survives: bool, state: State
) -> None:
    go = asyncio.Event()
    async with bench((go, "Hello"), max_running=1) as it:
        first = await it.submit(task_id="task_0") if is_full else None
        it.log.holds = ev.Queued if is_full else ev.Started
        starting = asyncio.create_task(it.submit(survives_disconnect=survives))
        await it.log.holding.wait()
        starting.cancel()
        await pass_time(1)
        it.log.let_go.set()
        await pass_time(1)
        go.set()
        await pass_time(1)
        if first is not None:
            await end_of(first)
        await pass_time(1)
        task = await it.log.load("default", "task_1")

    assert task.state is state


async def test_tasks_that_others_wait_for_do_not_take_their_places() -> None:
    async with bench((asyncio.Event(),), max_running=2, max_queued=0) as it:
        for number in range(2):
            await it.submit(task_id=f"task_{number}", parent_task_id="task_9")
        await it.submit(task_id="task_8")
        await it.submit(task_id="task_9")

        with pytest.raises(ResourceExhausted):
            await it.submit(task_id="task_3", parent_task_id="task_9")


async def test_a_follower_that_is_canceled_leaves_nobody_waiting_for_it() -> None:
    async with bench((asyncio.Event(),)) as it:
        first = await it.submit(task_id="task_0")
        place = Place(2, 2, "task_0")
        second = await it.submit(place=place)
        watching = len(it.worker._tasks)
        it.worker.cancel(second, "enough")
        await end_of(second)
        await pass_time(1)

        assert len(it.worker._tasks) == watching - 1
        assert not first.done.is_set()
