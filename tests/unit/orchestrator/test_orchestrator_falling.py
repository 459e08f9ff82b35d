"""Tasks whose model cannot go on, and what the next one of their route makes of them."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from services.chassis.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServiceError,
    Unavailable,
)
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.letters import Say, written
from services.orchestrator.domain.routed import Routed
from services.orchestrator.domain.task import State, Task
from services.orchestrator.equipment import Equipment
from services.orchestrator.ports import Model
from tests.unit.orchestrator.fakes import (
    MODEL,
    NOW,
    SPEC,
    TURN,
    Bench,
    FakeModels,
    bench,
    end_of,
    pass_time,
    tool,
)

NEXT = Model("next", "7", 8192, 512, can_continue=True)
DUMB = Model("dumb", "1", 4096, 512)
GONE = Unavailable("ENGINE_FAILED", "the engine failed")
ROUTED = Routed("default", "short_answer", "pinned", "the first of its rule", ("fake", "next"))
BUSY = ResourceExhausted("ENGINE_OVERLOADED", "full").after(timedelta(seconds=30))


async def ended(it: Bench, *, routed: Routed = ROUTED, **changes: Any) -> Task:
    """A task on this chain, once it has ended."""
    it.models.others = (NEXT, DUMB)
    return await it.ended(SPEC, routed=routed, **changes)


def of(it: Bench, kind: type[ev.Event]) -> Sequence[Any]:
    return [event for event in it.log.events if isinstance(event, kind)]


async def test_a_text_that_was_begun_is_gone_on_with_by_the_next_model() -> None:
    async with bench(("One, ", GONE), ("two",)) as it:
        task = await ended(it)

    first, second = it.models.asked
    assert (task.text, task.state) == ("One, two", State.COMPLETED)
    assert (first.model, second.model, second.prefix) == ("fake", "next", "One, ")
    assert it.log.kinds() == [
        "Started",
        "TextAdded",
        "ModelChanged",
        "Warned",
        "TextAdded",
        "Answered",
        "Completed",
    ]
    assert (task.model, task.model_version) == ("next", "7")


async def test_the_log_and_the_task_say_which_model_goes_on_and_why() -> None:
    async with bench(("One, ", GONE), ("two",)) as it:
        task = await ended(it)

    (changed,) = of(it, ev.ModelChanged)
    assert (changed.before, changed.model, changed.failure.reason) == (
        "fake",
        "next",
        "ENGINE_FAILED",
    )
    assert [each.code for each in task.warnings] == ["MODEL_FALLBACK"]


async def test_no_time_is_lost_between_two_models() -> None:
    async with bench((GONE,), ("two",)) as it:
        began = it.now()
        task = await ended(it)

        assert it.now() - began < 0.1
    assert task.text == "two"


async def test_where_the_next_model_cannot_go_on_from_a_text_the_step_begins_anew() -> None:
    chain = replace(ROUTED, models=("fake", "dumb"))
    async with bench(("One, ", GONE), ("Two",)) as it:
        task = await ended(it, routed=chain)

    assert task.text == "Two"
    assert it.models.asked[1].prefix == ""
    assert it.log.kinds()[2:5] == ["StepAbandoned", "ModelChanged", "Warned"]


async def test_a_text_that_a_schema_binds_begins_anew() -> None:
    async with bench(('{"a": ', GONE), ('{"a": 1}',)) as it:
        task = await ended(it, response_schema={"type": "object"}, has_tools=False)

    assert task.output == {"a": 1}
    assert it.models.asked[1].prefix == ""


@pytest.mark.parametrize(
    "error",
    [
        GONE,
        BUSY,
        Internal("INTERNAL", "internal error"),
        NotFound("MODEL_NOT_FOUND", "unloaded"),
        FailedPrecondition("MODEL_NOT_LOADED", "unloaded"),
        InvalidArgument("CONTEXT_WINDOW_EXCEEDED", "too long"),
        InvalidArgument("SCHEMA_INVALID", "not for this engine"),
        DeadlineExceeded("MODEL_TOO_SLOW", "silent"),
    ],
    ids=lambda error: error.reason,
)
async def test_what_may_be_the_models_own_fault_has_the_next_one_tried(error: ServiceError) -> None:
    async with bench((error,), ("two",)) as it:
        task = await ended(it)

    assert (task.text, task.model) == ("two", "next")


async def test_what_is_wrong_whoever_is_asked_fails_at_once() -> None:
    async with bench((InvalidArgument("INVALID_REQUEST", "wrong"),), ("two",)) as it:
        task = await ended(it)

    assert task.failure is not None
    assert (task.failure.reason, len(it.models.asked)) == ("INVALID_REQUEST", 1)


async def test_a_prompt_that_is_too_long_is_nothing_for_a_model_that_takes_no_more() -> None:
    error = InvalidArgument("CONTEXT_WINDOW_EXCEEDED", "too long")
    async with bench((error,), ("two",)) as it:
        task = await ended(it, routed=replace(ROUTED, models=("fake", "dumb")))

    assert task.failure is not None
    assert task.failure.reason == "CONTEXT_WINDOW_EXCEEDED"


async def test_the_last_model_of_a_chain_is_tried_as_often_as_any() -> None:
    async with bench((GONE,)) as it:
        task = await ended(it)

    assert [each.model for each in it.models.asked] == ["fake", "next", "next", "next"]
    assert task.failure is not None
    assert task.failure.reason == "ENGINE_FAILED"


async def test_models_that_are_not_there_are_passed_over() -> None:
    async with bench((GONE,), ("two",)) as it:
        task = await ended(it, routed=replace(ROUTED, models=("fake", "gone", "next")))

    assert task.model == "next"


async def test_without_a_route_the_same_model_is_asked_again() -> None:
    async with bench((GONE,), ("two",)) as it:
        it.models.others = (NEXT,)
        task = await it.ended()

    assert [each.model for each in it.models.asked] == ["fake", "fake"]
    assert task.text == "two"


async def test_output_that_is_no_step_is_left_to_the_next_model_once_it_was_tried_twice() -> None:
    async with bench(("no",), ("no",), ('{"a": 1}',)) as it:
        task = await ended(it, response_schema={"type": "object"}, has_tools=False)

    assert [each.model for each in it.models.asked] == ["fake", "fake", "next"]
    assert task.output == {"a": 1}


async def test_calls_that_were_made_stay_made_when_the_model_changes() -> None:
    look = '{"thought": "t", "tool_calls": [{"tool": "look", "input": {}}]}'
    answer = '{"thought": "t", "answer": "a"}'
    async with bench((look,), ('{"thought": "t", "ans', GONE), (answer,)) as it:
        it.tools.known = (tool(),)
        task = await ended(it)

    assert len(it.tools.called) == 1
    assert (task.text, task.model) == ("a", "next")


async def test_a_silent_model_is_given_up_while_the_next_one_still_has_time() -> None:
    async with bench((asyncio.Event(),), ("two",)) as it:
        task = await ended(it, deadline=NOW + timedelta(seconds=4))

    (changed,) = of(it, ev.ModelChanged)
    assert (changed.failure.reason, task.text) == ("MODEL_TOO_SLOW", "two")
    assert it.models.hung_up == ["fake", "next"]


async def test_a_model_that_falls_silent_in_mid_text_is_given_up_and_its_text_gone_on_with() -> (
    None
):
    async with bench(("One, ", asyncio.Event()), ("two",)) as it:
        began = it.now()
        task = await ended(it, routed=replace(ROUTED, patience_ms=700))

        assert 0.7 <= it.now() - began < 1
    assert task.text == "One, two"


async def test_the_last_model_may_be_silent_until_the_deadline() -> None:
    async with bench((asyncio.Event(),)) as it:
        routed = replace(ROUTED, models=("fake",), patience_ms=700)
        task = await ended(it, routed=routed, deadline=NOW + timedelta(seconds=4))

    assert task.failure is not None
    assert task.failure.reason == "TASK_TIMEOUT"


@pytest.mark.parametrize(("seconds", "model"), [(4, "next"), (60, "fake")])
async def test_a_model_that_would_not_be_done_in_time_is_not_asked(
    seconds: int, model: str
) -> None:
    async with bench(("two",)) as it:
        it.seen.spoke(("default", "fake"), first_seconds=5, seconds=20, tokens=100)
        it.seen.spoke(("default", "next"), first_seconds=0.1, seconds=1, tokens=100)
        task = await ended(it, deadline=NOW + timedelta(seconds=seconds))

    assert [each.model for each in it.models.asked] == [model]
    assert task.text == "two"


async def test_what_a_model_takes_is_seen_and_so_is_that_it_failed() -> None:
    async with bench((GONE,), ("two",)) as it:
        await ended(it)

    assert it.seen.is_ailing(("default", "fake"))
    assert not it.seen.is_ailing(("default", "next"))
    assert it.seen.expected(("default", "next"), 10) is not None


async def test_another_worker_goes_on_with_the_model_that_the_task_had_last() -> None:
    async with bench(("One, ", GONE), ("two, ", asyncio.Event())) as it:
        it.models.others = (NEXT,)
        run = await it.submit(SPEC, routed=ROUTED)
        await it.models.said.wait()
        run.give_up()
        await end_of(run)
        async with bench(("three",), beside=it.log) as other:
            other.models.others = (NEXT,)
            claim = await taken(it, other)
            task = await end_of(await other.worker.take_up(other.world, claim))

    assert task.text == "One, two, three"
    assert [(each.model, each.prefix) for each in other.models.asked] == [("next", "One, two, ")]


async def test_a_task_whose_model_is_gone_when_it_is_taken_up_gets_the_next_one() -> None:
    async with bench(("One, ", asyncio.Event())) as it:
        it.models.others = (NEXT,)
        run = await it.submit(SPEC, routed=replace(ROUTED, models=("fake", "next")))
        await it.models.said.wait()
        run.give_up()
        await end_of(run)
        async with bench(("two",), beside=it.log) as other:
            other.models.model = NEXT
            claim = await taken(it, other)
            task = await end_of(await other.worker.take_up(other.world, claim))

    assert (task.text, task.model) == ("One, two", "next")
    assert [each.failure.reason for each in of(other, ev.ModelChanged)] == ["MODEL_NOT_FOUND"]


@dataclass
class Unloaded(FakeModels):
    """Knows its default model, and has not loaded it."""

    async def known(self) -> Mapping[str, Model]:
        """See `Models`."""
        return {each.name: each for each in self.others}

    async def resolve(self, name: str) -> Model:
        """See `Models`."""
        if name == MODEL.name:
            raise FailedPrecondition("MODEL_NOT_LOADED", "it is not loaded")
        return await super().resolve(name)


async def test_a_task_whose_model_is_not_loaded_when_it_is_taken_up_gets_the_next_one() -> None:
    async with bench(("One, ", asyncio.Event())) as it:
        run = await it.submit(SPEC, routed=ROUTED)
        await it.models.said.wait()
        run.give_up()
        await end_of(run)
        async with bench(beside=it.log) as other:
            other.models = Unloaded((("two",),), others=(NEXT,))
            claim = await taken(it, other)
            task = await end_of(await other.worker.take_up(other.world, claim))

    assert (task.text, task.model) == ("One, two", "next")


async def test_without_another_model_a_task_whose_model_is_gone_fails_with_that() -> None:
    async with bench(("One, ", asyncio.Event())) as it:
        run = await it.submit(SPEC, routed=replace(ROUTED, models=("fake", "gone")))
        await it.models.said.wait()
        run.give_up()
        await end_of(run)
        async with bench(beside=it.log) as other:
            other.models.model = NEXT
            claim = await taken(it, other)
            task = await end_of(await other.worker.take_up(other.world, claim))

    assert task.failure is not None
    assert task.failure.reason == "MODEL_NOT_FOUND"


async def taken(it: Bench, other: Bench) -> Any:
    """The claim of a task that its worker gave up."""
    await it.desk.release(list(await it.desk.renew()))
    claim = await other.desk.take("default", SPEC.task_id)
    assert claim is not None
    return claim


async def test_a_second_call_is_made_of_a_model_that_is_silent_and_the_first_to_speak_wins() -> (
    None
):
    routed = replace(ROUTED, hedge_after_ms=300)
    async with bench((asyncio.Event(),), ("two",)) as it:
        task = await ended(it, routed=routed)

    first, second = it.models.asked
    assert (second.model, second.apart_from) == ("fake", first)
    assert (task.text, task.model, task.warnings) == ("two", "fake", ())
    assert it.models.hung_up == ["fake", "fake"]


async def test_both_calls_are_paid_for() -> None:
    routed = replace(ROUTED, models=("fake",), hedge_after_ms=300)
    async with bench((asyncio.Event(),), ("two",)) as it:
        it.models.model = replace(MODEL, input_usd=1e6)
        it.models.prompt_tokens = 7
        spec, equipment = replace(SPEC, routed=routed), Equipment(it.models.model, {})
        task = await end_of(await it.worker.submit(it.world, spec, equipment))

    assert task.tokens == TURN.tokens + 7
    assert task.cost_usd == pytest.approx(TURN.prompt_tokens + 7)


@pytest.mark.parametrize(("tokens", "reason"), [(20, "TOKEN_LIMIT_REACHED"), (21, None)])
async def test_limits_have_room_for_the_second_call_before_the_first_is_made(
    tokens: int, reason: str | None
) -> None:
    async with bench(("one",)) as it:
        hedged = replace(ROUTED, hedge_after_ms=300)
        task = await ended(it, routed=hedged, limits=ev.Limits(8, tokens))

    assert (task.failure and task.failure.reason) == reason


async def test_a_model_that_speaks_in_time_is_asked_once() -> None:
    async with bench(("one",)) as it:
        task = await ended(it, routed=replace(ROUTED, hedge_after_ms=300))

    assert (task.text, len(it.models.asked), task.tokens) == ("one", 1, TURN.tokens)


async def test_where_no_other_replica_is_the_second_call_is_the_next_models() -> None:
    nobody = Unavailable("NO_OTHER_REPLICA", "there is no other")
    async with bench((asyncio.Event(),), (nobody,), ("two",)) as it:
        task = await ended(it, routed=replace(ROUTED, hedge_after_ms=300))

    (changed,) = of(it, ev.ModelChanged)
    assert (task.text, task.model, changed.failure) == ("two", "next", None)
    assert it.log.kinds()[:2] == ["Started", "ModelChanged"]


async def test_a_second_call_that_fails_does_no_harm() -> None:
    go = asyncio.Event()
    async with bench((go, "one"), (GONE,)) as it:
        it.models.others = (NEXT,)
        run = await it.submit(SPEC, routed=replace(ROUTED, hedge_after_ms=300))
        await pass_time(1)
        go.set()
        task = await end_of(run)

    assert (task.text, task.tokens) == ("one", TURN.tokens)


async def test_a_task_that_is_canceled_closes_both_calls() -> None:
    async with bench((asyncio.Event(),), (asyncio.Event(),)) as it:
        run = await it.submit(SPEC, routed=replace(ROUTED, hedge_after_ms=300))
        await pass_time(1)
        run.cancel("enough")
        task = await end_of(run)

    assert task.state is State.CANCELED
    assert len(it.models.hung_up) == 2


async def test_where_both_calls_are_silent_the_next_model_goes_on() -> None:
    routed = replace(ROUTED, hedge_after_ms=300, patience_ms=700)
    async with bench((asyncio.Event(),), (asyncio.Event(),), ("two",)) as it:
        task = await ended(it, routed=routed)

    assert [each.model for each in it.models.asked] == ["fake", "fake", "next"]
    assert (task.text, it.models.hung_up[:2]) == ("two", ["fake", "fake"])


async def test_a_word_to_a_task_breaks_off_both_calls() -> None:
    async with bench((asyncio.Event(),), (asyncio.Event(),), ("two",)) as it:
        run = await it.submit(SPEC, routed=replace(ROUTED, models=("fake",), hedge_after_ms=300))
        await pass_time(1)
        await it.desk.send("default", SPEC.task_id, *written(Say("More", "local", "")))
        await it.worker.read_letters(run)
        task = await end_of(run)

    assert task.text == "two"
    assert it.models.hung_up == ["fake"] * 3
    assert [message.content for message in it.models.asked[2].messages][-1] == "More"


async def test_fallbacks_and_second_calls_are_counted() -> None:
    async with bench((GONE,), ("two",), (asyncio.Event(),), ("four",)) as it:
        await ended(it)
        await it.ended(
            SPEC, task_id="task_2", routed=replace(ROUTED, models=("fake",), hedge_after_ms=300)
        )

    assert it.seen.fallbacks == {"ENGINE_FAILED": 1}
    assert it.seen.hedges == {"first": 0, "second": 1}


@dataclass
class Forgetful(FakeModels):
    """Its list of models cannot be had so often."""

    failures: int = 0

    async def known(self) -> Mapping[str, Model]:
        """See `Models`."""
        if self.failures and self.asked:
            self.failures -= 1
            raise Unavailable("PEER_UNREACHABLE", "gone")
        return await super().known()


@pytest.mark.parametrize(("failures", "asked"), [(1, ["fake", "next"]), (2, ["fake", "fake"])])
async def test_a_list_of_models_that_cannot_be_had_at_once_is_asked_for_again(
    failures: int, asked: Sequence[str]
) -> None:
    async with bench() as it:
        it.models = Forgetful(((GONE,), ("two",)), others=(NEXT,), failures=failures)
        task = await it.ended(SPEC, routed=ROUTED)

    assert [each.model for each in it.models.asked] == asked
    assert task.text == "two"
