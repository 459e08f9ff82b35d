import asyncio
from datetime import timedelta

import pytest

from services.chassis.errors import ResourceExhausted, Unavailable
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.task import State
from tests.unit.orchestrator.fakes import NOW, bench, end_of, pass_time


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
