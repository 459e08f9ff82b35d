import asyncio
import gc
import weakref
from collections.abc import Sequence
from datetime import timedelta

import pytest

from services.chassis.errors import InvalidArgument, Unavailable
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.task import State
from services.orchestrator.domain.tool import Tool
from services.orchestrator.turn import MERGE_SECONDS
from tests.unit.orchestrator.fakes import (
    NOW,
    TURN,
    FakeTools,
    Line,
    bench,
    end_of,
    pass_time,
    tool,
)

LOOK = '{"thought": "t", "tool_calls": [{"tool": "look", "input": {}}]}'
ANSWER = '{"thought": "t", "answer": "a"}'


async def test_what_was_heard_before_a_cancel_is_kept() -> None:
    async with bench(("One, ", "two", asyncio.Event()), max_running=1) as it:
        run = await it.submit()
        await it.models.said.wait()
        passed_on = run.task.text

        run.cancel("enough")
        task = await end_of(run)

    assert passed_on == "One, "
    assert (task.state, task.text) == (State.CANCELED, "One, two")


async def test_what_was_heard_before_the_deadline_is_kept() -> None:
    soon = NOW + timedelta(seconds=MERGE_SECONDS / 2)
    async with bench(("One, ", "two", asyncio.Event())) as it:
        task = await it.ended(deadline=soon)

    assert task.failure is not None
    assert (task.failure.reason, task.text) == ("TASK_TIMEOUT", "One, two")
    assert it.log.kinds() == ["Started", "TextAdded", "TextAdded", "Failed"]


async def test_a_cancel_while_the_end_is_written_does_no_harm() -> None:
    async with bench() as it:
        it.log.holds = ev.Completed
        run = await it.submit()
        await it.log.holding.wait()

        run.cancel("late")
        it.log.let_go.set()
        task = await end_of(run)

    assert (task.state, run.is_lost) == (State.COMPLETED, False)


async def test_a_cancel_while_the_deadline_stops_the_model_does_no_harm() -> None:
    async with bench(("One", asyncio.Event())) as it:
        closed = it.models.closes_after = asyncio.Event()
        run = await it.submit(deadline=NOW + timedelta(seconds=1))
        await pass_time(2)

        run.cancel("late")
        closed.set()
        task = await end_of(run)

    assert task.state is State.CANCELED


async def test_a_cancel_before_anything_is_done_ends_the_task() -> None:
    async with bench() as it:
        run = await it.submit()

        run.cancel("enough")
        task = await end_of(run)

    assert task.state is State.CANCELED


@pytest.mark.parametrize(
    "refusal", [Unavailable("EVENT_STORE_UNAVAILABLE", "gone"), OSError("disk full")]
)
async def test_a_run_whose_end_is_not_written_is_another_workers(refusal: Exception) -> None:
    async with bench() as it:
        it.log.refuses, it.log.refusal = ev.Completed, refusal
        run = await it.submit()
        task = await end_of(run)

    assert (task.state, run.is_lost) == (State.RUNNING, True)


async def test_after_a_write_that_failed_nothing_more_is_written() -> None:
    async with bench(("One, ", "two", asyncio.Event())) as it:
        it.log.refuses, it.log.refusal = ev.TextAdded, Unavailable("EVENT_STORE_UNAVAILABLE", "x")
        run = await it.submit()
        await pass_time(1)
        it.log.refuses = type(None)

        run.cancel("enough")
        await end_of(run)

    assert it.log.kinds() == ["Started"]
    assert run.is_lost


@pytest.mark.parametrize("allowed", [9, 10])
async def test_a_turn_whose_prompt_takes_what_is_left_does_not_begin(allowed: int) -> None:
    async with bench() as it:
        task = await it.ended(limits=ev.Limits(8, allowed))

    assert task.failure is not None
    assert (task.failure.code, task.failure.reason) == (
        "FAILED_PRECONDITION",
        "TOKEN_LIMIT_REACHED",
    )
    assert it.models.asked == []


async def test_a_turn_may_say_what_is_left_after_its_prompt() -> None:
    async with bench() as it:
        await it.ended(limits=ev.Limits(8, 30))

    assert [each.max_tokens for each in it.models.asked] == [20]


async def test_tokens_of_the_turns_before_are_used_up() -> None:
    tools = FakeTools([tool()])
    async with bench((LOOK,), tools=tools) as it:
        task = await it.ended(limits=ev.Limits(8, TURN.tokens + it.models.prompt_tokens))

    assert task.failure is not None
    assert (task.failure.reason, task.tokens) == ("TOKEN_LIMIT_REACHED", TURN.tokens)
    assert len(it.models.asked) == 1


@pytest.mark.parametrize(
    ("tools", "wanted", "used"),
    [((tool(),), None, 0.0), ((tool(),), 0.7, 0.7), ((), None, None)],
    ids=["tools", "tools and a wish", "no tools"],
)
async def test_with_tools_nothing_is_left_to_chance_unless_asked_for(
    tools: tuple[Tool, ...], wanted: float | None, used: float | None
) -> None:
    async with bench((ANSWER,), tools=FakeTools(tools)) as it:
        await it.ended(sampling=ev.Sampling(temperature=wanted))

    assert [each.sampling.temperature for each in it.models.asked] == [used]


async def test_an_agent_that_repeats_a_failed_call_gets_no_tools_any_more() -> None:
    refused = InvalidArgument("TOOL_INPUT_INVALID", "no")
    tools = FakeTools([tool()], [refused, refused])
    async with bench((LOOK,), (LOOK,), (ANSWER,), tools=tools) as it:
        task = await it.ended()

    assert [warned.code for warned in task.warnings] == ["FAILED_CALL_REPEATED"]
    assert ["look" in str(each.schema) for each in it.models.asked] == [True, True, False]
    assert task.text == "a"


async def test_a_failed_call_may_be_followed_by_others() -> None:
    other = LOOK.replace("{}", '{"at": 1}')
    tools = FakeTools([tool()], [InvalidArgument("TOOL_INPUT_INVALID", "no")])
    async with bench((LOOK,), (other,), (ANSWER,), tools=tools) as it:
        task = await it.ended()

    assert (task.warnings, task.text) == ((), "a")


@pytest.mark.parametrize(("is_idempotent", "made"), [(True, 1), (False, 2)])
async def test_only_harmless_calls_are_merged(is_idempotent: bool, made: int) -> None:
    call = '{"tool": "look", "input": {}}'
    tools = FakeTools([tool(is_idempotent=is_idempotent)])
    async with bench((LOOK.replace(call, f"{call}, {call}"),), (ANSWER,), tools=tools) as it:
        task = await it.ended()

    assert task.text == "a"
    assert len(tools.called) == made


@pytest.mark.parametrize(
    "turns",
    [
        [(LOOK,), (ANSWER,)],
        [("One, ", asyncio.Event())],
        [("no JSON",)],
        [("One, ", InvalidArgument("BAD", "bad"))],
        [("One, ", Unavailable("AWAY", "away"))],
        [("One, ", Unavailable("AWAY", "away")), (ANSWER,)],
    ],
    ids=["answered", "cancelled", "malformed", "refused", "away", "away for a moment"],
)
async def test_a_task_that_has_ended_is_held_by_nobody(turns: Sequence[Sequence[Line]]) -> None:
    """Its history may be large, and the collector looks seldom."""
    gc.disable()
    try:
        async with bench(*turns, tools=FakeTools([tool("look")])) as it:
            run = await it.submit()
            gone = weakref.ref(run)
            while not run.done.is_set():
                await pass_time(1)
                run.cancel("enough")
            del run
            await pass_time(1)

            assert gone() is None
    finally:
        gc.enable()
