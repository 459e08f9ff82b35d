"""Agents that agents call, where it comes to an order or to another worker."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from services.chassis.errors import Unavailable
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.agent import Agent
from services.orchestrator.domain.task import State, Task
from services.orchestrator.run import Run
from services.orchestrator.worker import on_duty
from tests.unit.orchestrator.fakes import (
    NOW,
    REQUEST,
    TURN,
    Bench,
    bench,
    caller,
    end_of,
    pass_time,
)

HAND: Final = Agent("hand", 1, "local", NOW, NOW, ev.Sampling(), {}, tool_choice="none")
CALL: Final = '{"thought": "t", "tool_calls": [{"tool": "agent__hand", "input": {"query": "Hi"}}]}'
ANSWER: Final = '{"thought": "t", "answer": "Done"}'


async def begun(it: Bench) -> Run:
    """A task that may call the agent."""
    await it.world.agents.create("default", HAND, None)
    task = await it.tasks.create(replace(REQUEST, tools=("agent__hand",)), caller())
    run = it.worker.find("default", task.spec.task_id)
    assert run is not None
    return run


async def child_of(it: Bench, run: Run) -> Run:
    """The run of its child, once the parent's log names it."""
    watching = it.log.watch("default", run.spec.task_id, after=0)
    async with asyncio.timeout(5), aclosing(watching) as events:
        async for _ in events:
            if run.task.unreturned and run.task.unreturned[0].child_task_id:
                break
    child = it.worker.find("default", run.task.unreturned[0].child_task_id)
    assert child is not None
    return child


async def test_a_child_that_is_just_beginning_hears_of_a_cancel() -> None:
    async with bench((CALL,), ("Hi", asyncio.Event())) as it:
        parent = await begun(it)
        it.log.holds = ev.Started
        await it.log.holding.wait()

        parent.cancel("enough")
        await pass_time(1)
        it.log.let_go.set()
        task = await end_of(parent)

    child_id, parent_id = it.log.ended
    assert (task.state, parent_id) == (State.CANCELED, task.spec.task_id)
    assert child_id != parent_id
    assert it.log.kinds().count("Canceled") == 2


async def test_a_service_that_takes_nothing_new_lets_its_tasks_call_agents_all_the_same() -> None:
    go = asyncio.Event()
    async with bench((go, CALL), ("Hi",), (ANSWER,)) as it:
        parent = await begun(it)
        await it.models.said.wait()
        it.worker.drain()
        go.set()
        task = await end_of(parent)

    assert (task.state, task.text) == (State.COMPLETED, "Done")
    assert it.log.kinds().count("Completed") == 2


async def test_a_child_in_another_worker_hears_of_a_cancel() -> None:
    hangs = asyncio.Event()
    async with (
        bench((CALL,), (hangs,)) as here,
        bench((hangs,), beside=here.log) as there,
        on_duty(there.worker, there.world),
    ):
        parent = await begun(here)
        child = await child_of(here, parent)
        moved = await moved_to(there, here, child)

        parent.cancel("enough")
        task = await end_of(parent)

    assert there.log.ended == [child.spec.task_id]
    assert (moved.task.state, task.state) == (State.CANCELED, State.CANCELED)
    assert here.log.ended == [task.spec.task_id]


async def test_a_child_that_another_worker_goes_on_with_answers_all_the_same() -> None:
    hangs = asyncio.Event()
    async with (
        bench((CALL,), (hangs,), (ANSWER,)) as here,
        bench(("Hi",), beside=here.log) as there,
    ):
        parent = await begun(here)
        child = await child_of(here, parent)
        await moved_to(there, here, child)
        task = await end_of(parent)

    assert (task.state, task.text) == (State.COMPLETED, "Done")
    assert result_of(task) == {"answer": "Hi", "task_id": child.spec.task_id}


async def test_a_child_that_nobody_works_on_is_taken_up_by_who_waits_for_it() -> None:
    hangs = asyncio.Event()
    async with bench((CALL,), (hangs,), ("Hi",), (ANSWER,), max_running=1) as it:
        parent = await begun(it)
        child = await child_of(it, parent)
        await given_up(it, child)
        task = await end_of(parent)

    assert (task.state, task.text) == (State.COMPLETED, "Done")
    assert result_of(task) == {"answer": "Hi", "task_id": child.spec.task_id}


async def test_a_child_that_cannot_begin_is_a_failed_call() -> None:
    async with bench((CALL,), (ANSWER,)) as it:
        parent = await begun(it)
        it.log.refuses, it.log.refusal = ev.Started, Unavailable("EVENT_STORE_UNAVAILABLE", "gone")
        task = await end_of(parent)

    failure = task.steps[0].calls[0].failure
    assert failure is not None
    assert (failure.reason, task.state) == ("EVENT_STORE_UNAVAILABLE", State.COMPLETED)


async def test_a_worker_that_stops_leaves_children_to_others() -> None:
    async with bench((CALL,), (asyncio.Event(),)) as it:
        parent = await begun(it)
        child = await child_of(it, parent)

    tasks = [await it.log.load("default", run.spec.task_id) for run in (parent, child)]
    assert [task.state for task in tasks] == [State.RUNNING] * 2
    assert len(await it.desk.find(5)) == 2


async def test_what_a_child_used_counts_for_its_parent() -> None:
    async with bench((CALL,), ("Hi",), (ANSWER,)) as it:
        task = await end_of(await begun(it))

    assert task.tokens == 3 * TURN.tokens


def result_of(task: Task) -> object:
    return task.steps[0].calls[0].output


async def given_up(it: Bench, run: Run) -> None:
    """A run that stops without an end, and its claim is free."""
    run.give_up()
    await run.done.wait()
    assert run.claim is not None
    await it.desk.release([run.claim])


async def moved_to(there: Bench, here: Bench, run: Run) -> Run:
    """The same task, run by another worker."""
    run.give_up()
    await run.done.wait()
    assert run.claim is not None
    await here.desk.release([run.claim])
    claim = await there.desk.take("default", run.spec.task_id)
    assert claim is not None
    return await there.worker.take_up(there.world, claim)
