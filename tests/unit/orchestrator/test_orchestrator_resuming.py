import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from services.chassis import structs
from services.chassis.errors import InvalidArgument, Unavailable
from services.chassis.eventlog.port import Claim
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.task import State
from services.orchestrator.resuming import MOST_LOSSES
from services.orchestrator.run import Run
from services.orchestrator.speaking import MOST_ATTEMPTS
from tests.unit.orchestrator.fakes import (
    MODEL,
    NOW,
    SPEC,
    TURN,
    Bench,
    FakeTools,
    Line,
    bench,
    end_of,
    tool,
)

ABLE = replace(MODEL, can_continue=True)
TEXT = (ev.TextAdded(NOW, 1, 1, "One, "), ev.TextAdded(NOW, 1, 1, "two, "))
STEP = (ev.ThoughtAdded(NOW, 1, 1, 'I "think".'), ev.TextAdded(NOW, 1, 1, 'Say "h'))
BEGUN = r'{"thought": "I \"think\".", "answer": "Say \"h'


async def left(it: Bench, *events: ev.Event, epoch: int = 2, **fields: Any) -> Claim:
    """The log of a task whose worker was lost, and the claim under which it is taken up."""
    request = pb.InvokeRequest(**{"query": "Hello", "limits": {"steps": 8}} | fields)
    spec = replace(SPEC, request=request.SerializeToString())
    task, claim = await it.log.begin(ev.Started(NOW, spec), None)
    await it.log.append(task, events, claim)
    while claim.epoch < epoch:
        claim = await taken(it, claim)
    return claim


async def taken(it: Bench, claim: Claim) -> Claim:
    """The next worker's claim."""
    await it.desk.release([claim])
    new = await it.desk.take(claim.tenant, claim.stream_id)
    assert new is not None
    return new


async def taken_up(it: Bench, *events: ev.Event, model: Any = ABLE, **more: Any) -> Run:
    """A task that this worker has taken up in the middle."""
    it.models.model = model
    return await it.worker.take_up(it.world, await left(it, *events, **more))


def surviving(it: Bench) -> str:
    """The text that watchers put together of the last attempt's pieces."""
    added = [each for each in it.log.events if isinstance(each, ev.TextAdded)]
    last = added[-1].attempt
    return "".join(each.text for each in added if each.attempt == last)


async def test_a_text_that_was_cut_off_goes_on_from_what_is_durable() -> None:
    async with bench(("three, ", "four.")) as it:
        task = await end_of(await taken_up(it, *TEXT))

    assert (task.state, task.text) == (State.COMPLETED, "One, two, three, four.")
    assert surviving(it) == task.text
    assert "StepAbandoned" not in it.log.kinds()
    assert {each.attempt for each in it.log.events if isinstance(each, ev.StepEvent)} == {1}
    assert [(each.prefix, each.schema) for each in it.models.asked] == [("One, two, ", None)]


async def test_the_answer_of_a_step_that_was_cut_off_goes_on_inside_of_it() -> None:
    tools = FakeTools([tool()])
    async with bench((r"i\"\nth", r"ere\u002e", '"}'), tools=tools) as it:
        task = await end_of(await taken_up(it, *STEP))

    assert (task.state, task.text) == (State.COMPLETED, 'Say "hi"\nthere.')
    assert surviving(it) == task.text
    assert it.log.kinds().count("ThoughtAdded") == 1
    assert "StepAbandoned" not in it.log.kinds()
    assert [(each.prefix, each.schema) for each in it.models.asked] == [(BEGUN, None)]


async def test_a_text_that_was_whole_already_ends_as_it_is() -> None:
    async with bench(()) as it:
        task = await end_of(await taken_up(it, *TEXT))

    assert (task.state, task.text) == (State.COMPLETED, "One, two, ")


async def test_nobody_listens_beyond_the_end_of_the_answer_and_its_tokens_count() -> None:
    tools = FakeTools([tool()])
    turn = ("i there", '", "source": "made', " up and up", asyncio.Event())
    async with bench(turn, tools=tools) as it:
        task = await end_of(await taken_up(it, *STEP))

    assert (task.state, task.text) == (State.COMPLETED, 'Say "hi there')
    assert task.tokens == it.models.prompt_tokens + len(BEGUN.split()) + 1


async def test_an_answer_that_ended_before_the_limit_of_tokens_is_not_cut() -> None:
    async with bench(('i"}', "\n\n"), tools=FakeTools([tool()])) as it:
        it.models.finish_reason = "length"
        task = await end_of(await taken_up(it, *STEP))

    assert (task.state, task.text, task.tokens) == (State.COMPLETED, 'Say "hi', TURN.tokens)


@pytest.mark.parametrize(
    ("events", "more"),
    [
        (TEXT, {"model": MODEL}),
        (STEP[:1], {}),
        (TEXT, {"epoch": MOST_LOSSES + 1}),
        (TEXT, {"response_schema": structs.from_dict({"type": "string"}, Struct())}),
    ],
    ids=["no model for it", "nothing but a thought", "too often", "a schema"],
)
async def test_what_cannot_go_on_is_abandoned(
    events: tuple[ev.Event, ...], more: dict[str, Any]
) -> None:
    async with bench(('"Hello"',)) as it:
        task = await end_of(await taken_up(it, *events, **more))

    abandoned = [each for each in it.log.events if isinstance(each, ev.StepAbandoned)]
    assert [(each.attempt, each.failure.reason) for each in abandoned] == [(1, "WORKER_LOST")]
    assert [each.prefix for each in it.models.asked] == [""]
    assert (task.state, task.text) == (State.COMPLETED, '"Hello"')


async def test_a_task_that_was_taken_up_as_often_as_it_may_be_still_goes_on() -> None:
    async with bench(("three.",)) as it:
        task = await end_of(await taken_up(it, *TEXT, epoch=MOST_LOSSES))

    assert task.text == "One, two, three."


FAILING: tuple[tuple[str, tuple[Line, ...]], ...] = (
    ("ENGINE_FAILED", ("half", Unavailable("ENGINE_FAILED", "gone"))),
    ("CONTEXT_WINDOW_EXCEEDED", (InvalidArgument("CONTEXT_WINDOW_EXCEEDED", "long"),)),
    ("MODEL_OUTPUT_INVALID", ("without an end",)),
    ("MODEL_OUTPUT_INVALID", (r"\x",)),
)


@pytest.mark.parametrize(("reason", "turn"), FAILING, ids=["gone", "long", "open", "escape"])
async def test_where_going_on_fails_the_next_attempt_runs(
    reason: str, turn: tuple[Line, ...]
) -> None:
    again = '{"thought": "t", "answer": "afresh"}'
    async with bench(turn, (again,), tools=FakeTools([tool()])) as it:
        task = await end_of(await taken_up(it, *STEP))

    abandoned = [each for each in it.log.events if isinstance(each, ev.StepAbandoned)]
    assert [(each.attempt, each.failure.reason) for each in abandoned] == [(1, reason)]
    assert [each.prefix for each in it.models.asked] == [BEGUN, ""]
    assert (task.state, task.text, surviving(it)) == (State.COMPLETED, "afresh", "afresh")


async def test_a_rest_that_is_cut_at_its_limit_is_abandoned() -> None:
    async with bench(("three",)) as it:
        it.models.finish_reason = "length"
        task = await end_of(await taken_up(it, *TEXT))

    assert it.log.kinds().count("StepAbandoned") == 3  # The rest, and two attempts of its own.
    assert task.failure is not None
    assert task.failure.reason == "MODEL_OUTPUT_INVALID"


async def test_the_last_attempt_that_a_step_may_have_is_the_last_to_go_on() -> None:
    text = ev.TextAdded(NOW, 1, MOST_ATTEMPTS, "One, ")
    async with bench((Unavailable("ENGINE_FAILED", "gone"),)) as it:
        task = await end_of(await taken_up(it, text))

    assert task.failure is not None
    assert (task.failure.reason, len(it.models.asked)) == ("WORKER_LOST", 1)


@pytest.mark.parametrize(
    ("fields", "room"),
    [
        ({}, MODEL.default_max_tokens - 2),
        ({"sampling": {"max_tokens": 10}}, 8),
        ({"limits": {"steps": 8, "tokens": 30}}, 30 - 10 - 2),
    ],
    ids=["the model's", "the caller's", "the task's"],
)
async def test_the_rest_has_the_tokens_that_the_text_left(
    fields: dict[str, Any], room: int
) -> None:
    async with bench(("three.",)) as it:
        await end_of(await taken_up(it, *TEXT, **fields))

    assert [each.max_tokens for each in it.models.asked] == [room]


async def test_a_text_that_left_no_tokens_is_abandoned() -> None:
    async with bench(("Hello",)) as it:
        task = await end_of(await taken_up(it, *TEXT, sampling={"max_tokens": 2}))

    assert it.log.kinds().count("StepAbandoned") == 1
    assert ([each.prefix for each in it.models.asked], task.text) == ([""], "Hello")


async def test_what_was_heard_of_the_rest_before_a_cancel_is_kept() -> None:
    async with bench(("three, ", "four", asyncio.Event())) as it:
        run = await taken_up(it, *TEXT)
        await it.models.said.wait()

        run.cancel("enough")
        task = await end_of(run)

    assert (task.state, task.text) == (State.CANCELED, "One, two, three, four")


async def test_a_text_that_is_cut_off_twice_is_still_one_text() -> None:
    async with bench(("three, ", asyncio.Event()), ("four.",)) as it:
        first = await taken_up(it, *TEXT)
        await it.models.said.wait()
        first.give_up()
        await end_of(first)
        assert first.claim is not None
        second = await it.worker.take_up(it.world, await taken(it, first.claim))
        task = await end_of(second)

    assert (task.text, surviving(it)) == ("One, two, three, four.",) * 2
    assert [each.prefix for each in it.models.asked] == ["One, two, ", "One, two, three, "]
    assert "StepAbandoned" not in it.log.kinds()


async def test_the_first_token_is_the_one_that_the_lost_worker_recorded() -> None:
    spoke_at = NOW + timedelta(seconds=2)
    async with bench(("two.",)) as it:
        task = await end_of(await taken_up(it, ev.TextAdded(spoke_at, 1, 1, "One, ")))

    assert task.time_to_first_token_ms == pytest.approx(2000, abs=1)
