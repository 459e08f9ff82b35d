"""Runs that wait for a word from outside, in this process or another."""

import asyncio
from dataclasses import replace

import pytest
from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from services.orchestrator.domain import events as ev
from services.orchestrator.domain.letters import Decide, GoOn, Pause, Say, Word
from services.orchestrator.domain.task import State, Task
from services.orchestrator.post import Post
from services.orchestrator.run import Run
from tests.unit.orchestrator.fakes import (
    REQUEST,
    SPEC,
    TURN,
    Bench,
    FakeTools,
    bench,
    caller,
    end_of,
    pass_time,
    tool,
)

LINGER_SECONDS = 2.0  # How long a task that waits is kept at hand.
CALL = '{"thought": "t", "tool_calls": [{"tool": "look", "input": {}}]}'
ANSWER = '{"thought": "t", "answer": "Seen."}'
GUARDED = replace(
    SPEC,
    approval_tools=("look",),
    request=pb.InvokeRequest(query="Hello", approval_tools=["look"]).SerializeToString(),
)


async def told(it: Bench, word: Word) -> None:
    """Say something to the task, wherever it is."""
    assert await Post(it.world, it.worker, it.desk).send("default", "task_1", word)


async def ended(it: Bench) -> Task:
    run = it.worker.find("default", "task_1")
    assert run is not None
    return await end_of(run)


def approval(run: Run) -> Decide:
    call = run.task.unreturned[0]
    return Decide(call.call_id, is_approved=True, comment="", author="her")


async def test_a_task_that_waits_is_kept_at_hand_for_a_while() -> None:
    async with bench((CALL,), (ANSWER,), tools=FakeTools([tool()])) as it:
        run = await it.submit(GUARDED)
        await pass_time(1)
        await told(it, approval(run))
        task = await end_of(run)

    assert (task.state, task.text) == (State.COMPLETED, "Seen.")
    assert [name for name, _ in it.tools.called] == ["look"]


async def test_a_task_that_waits_longer_is_taken_up_again_when_it_is_told() -> None:
    async with bench((CALL,), (ANSWER,), tools=FakeTools([tool()])) as it:
        run = await it.submit(GUARDED)
        await pass_time(LINGER_SECONDS + 1)
        parked = it.worker.find("default", "task_1")
        await told(it, approval(run))
        task = await ended(it)

    assert run.is_lost
    assert parked is None
    assert (task.state, task.text) == (State.COMPLETED, "Seen.")
    assert [name for name, _ in it.tools.called] == ["look"]


async def test_something_said_while_a_tool_runs_is_heard_at_the_next_turn() -> None:
    async with bench((CALL,), (ANSWER,), tools=FakeTools([tool()])) as it:
        it.log.holds = type(None)
        run = await it.submit()
        await told(it, Say("And be brief", "her"))
        task = await end_of(run)

    assert task.state is State.COMPLETED
    assert it.models.asked[-1].messages[-1].content == "And be brief"


async def test_a_turn_is_broken_off_for_something_new_but_not_what_was_durable() -> None:
    never = asyncio.Event()
    async with bench(("Hel", never), ("Bye",)) as it:
        run = await it.submit(has_tools=False)
        await it.models.said.wait()
        await told(it, Say("No, bye", "her"))
        task = await end_of(run)

    assert task.text == "Bye"
    assert task.tokens == TURN.tokens + it.models.prompt_tokens  # What was broken off counts.
    names = it.log.kinds()
    assert names.index("StepAbandoned") < names.index("Steered")
    assert names.count("StepAbandoned") == 1


async def test_a_pause_keeps_what_was_said_and_asks_the_model_no_more() -> None:
    never = asyncio.Event()
    async with bench(("Hel", never), ("Hello",)) as it:
        run = await it.submit(has_tools=False)
        await it.models.said.wait()
        await told(it, Pause())
        await pass_time(1)
        paused = run.task
        await told(it, GoOn())
        task = await end_of(run)

    assert (paused.state, paused.wants, paused.text) == (State.WAITING, "continue", "Hel")
    assert (task.state, task.text) == (State.COMPLETED, "Hello")
    assert len(it.models.asked) == 2


async def test_a_task_that_waits_can_be_cancelled() -> None:
    async with bench((CALL,), tools=FakeTools([tool()])) as it:
        run = await it.submit(GUARDED)
        await pass_time(1)
        it.worker.cancel(run, "enough")
        task = await end_of(run)

    assert task.state is State.CANCELED
    assert it.tools.called == []


async def test_a_letter_is_dealt_with_once_and_then_gone() -> None:
    never = asyncio.Event()
    async with bench(("Hel", never), ("Bye",)) as it:
        run = await it.submit(has_tools=False)
        await it.models.said.wait()
        await told(it, Say("No, bye", "her"))
        await it.worker.read_letters()
        await end_of(run)
        left = await it.desk.letters()

    assert it.log.kinds().count("Steered") == 1
    assert left == []


@pytest.mark.parametrize("seconds", [1, LINGER_SECONDS + 1])
async def test_a_caller_that_leaves_a_task_that_waits_cancels_it(seconds: float) -> None:
    async with bench((CALL,), tools=FakeTools([tool()])) as it:
        asked = replace(REQUEST, approval_tools=("look",), source=GUARDED.request)
        events = it.tasks.stream(asked, caller())
        task_id = pb.TaskEvent.FromString(await anext(events)).task_id
        await pass_time(seconds)
        await events.aclose()
        await pass_time(seconds)
        task = await it.log.load("default", task_id)

    assert task.state is State.CANCELED


async def test_something_said_to_a_paused_text_ends_the_pause_and_that_text() -> None:
    never = asyncio.Event()
    async with bench(("Hel", never), ("Bye",)) as it:
        run = await it.submit(has_tools=False)
        await it.models.said.wait()
        await told(it, Pause())
        await pass_time(LINGER_SECONDS + 1)
        await told(it, Say("No, bye", "her"))
        task = await ended(it)

    assert run.is_lost
    assert (task.state, task.text) == (State.COMPLETED, "Bye")


async def test_a_cancel_that_comes_while_a_task_begins_to_wait_is_kept() -> None:
    async with bench((CALL,), tools=FakeTools([tool()])) as it:
        run = await it.submit(GUARDED)
        await pass_time(LINGER_SECONDS - 0.001)
        it.log.holds_parking = True
        await it.log.holding.wait()
        it.worker.cancel(run, "enough")
        it.log.let_go.set()
        await pass_time(3)
        task = await it.log.load("default", "task_1")

    assert task.state is State.CANCELED


async def test_a_task_whose_pause_no_model_can_go_on_from_is_not_a_lost_worker() -> None:
    async with bench(*[("Hel", asyncio.Event())] * 12, ("Hello",)) as it:
        await it.submit(has_tools=False)
        for _ in range(12):
            await it.models.said.wait()
            it.models.said.clear()
            await told(it, Pause())
            await pass_time(LINGER_SECONDS + 1)
            await told(it, GoOn())
        task = await ended(it)

    assert (task.state, task.text) == (State.COMPLETED, "Hello")
    abandoned = [each for each in it.log.events if isinstance(each, ev.StepAbandoned)]
    assert {each.failure.reason for each in abandoned} == {"PAUSED"}
