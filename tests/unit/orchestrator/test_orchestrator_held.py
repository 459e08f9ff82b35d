"""What quotas and limits hold where another model goes on, or is asked beside the first."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import pytest

from services.chassis.errors import FailedPrecondition, ServiceError, Unavailable
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.letters import GoOn, Pause, Say, Word, written
from services.orchestrator.domain.quota import Bound, Period, Quota, Scope, Usage
from services.orchestrator.domain.routed import Routed
from services.orchestrator.domain.task import State, Task
from services.orchestrator.equipment import Equipment
from services.orchestrator.ports import Model
from services.orchestrator.run import Run
from tests.unit.orchestrator.fakes import (
    MODEL,
    NOW,
    SPEC,
    TURN,
    Bench,
    FakeModels,
    bench,
    end_of,
)

GONE = Unavailable("ENGINE_FAILED", "the engine failed")
CHEAP = replace(MODEL, can_continue=True, input_usd=1e6, output_usd=1e6)
DEAR = Model("next", "7", 8192, 512, can_continue=True, input_usd=2e6, output_usd=10e6)
ROUTED = Routed("default", "short_answer", "pinned", "the first of its rule", ("fake", "next"))
HEDGED = replace(ROUTED, hedge_after_ms=300)
NOBODY = Unavailable("NO_OTHER_REPLICA", "there is no other")


@dataclass
class Uncountable(FakeModels):
    """Some of its models cannot count, so often."""

    fails: dict[str, list[ServiceError]] = field(default_factory=dict)

    async def count_tokens(
        self, model: str, messages: Sequence[ev.Message], prefix: str = ""
    ) -> int:
        """See `Models`."""
        if left := self.fails.get(model):
            raise left.pop()
        return await super().count_tokens(model, messages, prefix)


async def quota(it: Bench, **most: float | None) -> None:
    bounds = {"tokens": None, "cost_usd": None, **most}
    made = Quota("all", Scope.TENANT, "", Period.DAY, **bounds, create_time=NOW, update_time=NOW)
    await it.budget.quotas.create("default", made)


async def begun(it: Bench, *, model: Model = CHEAP, **changes: Any) -> Run:
    it.models.model, it.models.others = model, (DEAR,)
    return await it.worker.submit(it.world, replace(SPEC, **changes), Equipment(model, {}))


async def ended(it: Bench, **changes: Any) -> Task:
    return await end_of(await begun(it, **changes))


async def used(it: Bench) -> tuple[float, float]:
    """The tokens and dollars that are tallied."""
    days = await it.budget.ledger.days("default", Scope.TENANT, "", date.min, date.max)
    return sum(each.tokens for _, each in days), sum(each.cost_usd for _, each in days)


async def fits(it: Bench, tokens: float) -> bool:
    """Whether another task could use so many now."""
    (all_of_it,) = await it.budget.quotas.of("default")
    bound, spec, lasts = Bound(all_of_it, ""), replace(SPEC, task_id="other"), timedelta(0)
    hold = it.budget.ledger.hold
    return await hold(spec, [bound], Usage(tokens), lasts=lasts, today=NOW.date()) is None


async def said(it: Bench, text: str) -> None:
    """Once the task's log has this text."""
    async with asyncio.timeout(5), aclosing(it.log.watch("default", "task_1", after=0)) as events:
        async for event in events:
            if text.encode() in event:
                return


async def tell(it: Bench, run: Run, word: Word) -> None:
    await it.desk.send("default", SPEC.task_id, *written(word))
    await it.worker.read_letters(run)


@pytest.mark.parametrize(
    "error", [GONE, FailedPrecondition("MODEL_NOT_LOADED", "unloaded")], ids=lambda x: x.reason
)
async def test_a_model_that_cannot_say_how_long_a_prompt_is_leaves_the_turn_to_the_next_one(
    error: ServiceError,
) -> None:
    async with bench() as it:
        it.models = Uncountable(fails={"fake": [error]})
        await quota(it, tokens=1000)
        task = await ended(it, routed=ROUTED)

    assert (task.state, task.model) == (State.COMPLETED, "next")
    assert [each.code for each in task.warnings] == ["MODEL_FALLBACK"]


@pytest.mark.parametrize(("times", "state"), [(2, State.COMPLETED), (3, State.FAILED)])
async def test_a_prompt_that_cannot_be_counted_now_is_counted_again(
    times: int, state: State
) -> None:
    async with bench() as it:
        it.models = Uncountable(fails={"fake": [GONE] * times})
        await quota(it, tokens=1000)
        task = await ended(it)

    assert task.state is state


async def test_what_is_held_suffices_for_the_dearer_of_two_models_that_may_answer() -> None:
    """Two prompts of 10 tokens at 2 dollars: the rest of 100 pays for 6 more, at 10 each."""
    async with bench((asyncio.Event(),), (NOBODY,), ("two",)) as it:
        await quota(it, cost_usd=100)
        task = await ended(it, routed=HEDGED)

        assert (await used(it))[1] <= 100
    assert task.model == "next"
    assert [each.max_tokens for each in it.models.asked] == [6, 6, 6]


async def test_a_model_that_won_while_its_task_was_told_something_is_charged_at_its_own_price() -> (
    None
):
    async with bench((asyncio.Event(),), (NOBODY,), ("two",), ("three",)) as it:
        it.log.holds = ev.ModelChanged
        run = await begun(it, routed=HEDGED)
        await it.log.holding.wait()
        await tell(it, run, Say("More", "local", ""))
        it.log.let_go.set()
        task = await end_of(run)

    assert (task.text, task.model) == ("three", "next")
    assert task.cost_usd == TURN.prompt_tokens * 2 + TURN.completion_tokens * 10


async def test_both_calls_are_paid_for_where_a_word_breaks_off_the_one_that_won() -> None:
    async with bench((asyncio.Event(),), ("Two", asyncio.Event()), ("three",)) as it:
        run = await begun(it, routed=replace(HEDGED, models=("fake",)))
        await said(it, "Two")
        await tell(it, run, Say("More", "local", ""))
        task = await end_of(run)

    assert task.tokens == 10 + 11 + TURN.tokens


async def test_a_limit_suffices_for_the_dearer_of_two_models_that_may_answer() -> None:
    async with bench((asyncio.Event(),), (NOBODY,), ("two",)) as it:
        task = await ended(it, routed=HEDGED, limits=ev.Limits(8, cost_usd=100))

    assert task.cost_usd <= 100
    assert [each.max_tokens for each in it.models.asked] == [6, 6, 6]


async def test_the_rest_of_a_text_has_room_for_a_second_call_too() -> None:
    """Two prompts of 11 tokens at 2 dollars: the rest of 1,100 pays for 105 more, at 10 each."""
    async with bench(("One, ", GONE), ("two",)) as it:
        await quota(it, cost_usd=1100)
        chain = replace(HEDGED, models=("fake", "dumb", "next"))
        it.models.others = ()
        run = await it.worker.submit(
            it.world, replace(SPEC, routed=chain), Equipment(replace(CHEAP, name="fake"), {})
        )
        it.models.others = (replace(DEAR, name="dumb", output_usd=1e6), DEAR)
        task = await end_of(run)

    rest = it.models.asked[1]
    assert (task.text, rest.model, rest.prefix) == ("One, two", "dumb", "One, ")
    assert rest.max_tokens == 105


async def test_a_dearer_model_that_goes_on_is_held_at_its_own_price() -> None:
    async with bench((GONE,), ("two",)) as it:
        await quota(it, cost_usd=100)
        await ended(it, routed=ROUTED)

        assert (await used(it))[1] <= 100
    assert [each.max_tokens for each in it.models.asked] == [90, 8]


async def test_a_turn_that_is_canceled_in_the_middle_is_counted() -> None:
    async with bench(("One, two", asyncio.Event())) as it:
        run = await begun(it)
        await it.models.said.wait()
        run.cancel("enough")
        task = await end_of(run)
        again = await it.log.load("default", SPEC.task_id)

        assert await used(it) == (12, 12)
    assert (task.state, task.text) == (State.CANCELED, "One, two")
    assert (task.tokens, task.cost_usd) == (again.tokens, again.cost_usd) == (12, 12)


async def test_a_turn_whose_time_is_over_in_the_middle_is_counted() -> None:
    async with bench(("One, two", asyncio.Event())) as it:
        task = await ended(it, deadline=NOW + timedelta(seconds=4))

        assert await used(it) == (12, 12)
    assert task.failure is not None
    assert task.failure.reason == "TASK_TIMEOUT"


async def test_a_turn_that_was_whole_when_its_task_was_canceled_is_counted_once() -> None:
    async with bench(("One",)) as it:
        it.log.holds = ev.Answered
        run = await begun(it)
        await it.log.holding.wait()
        run.cancel("enough")
        it.log.let_go.set()
        task = await end_of(run)

        assert (await used(it))[0] == task.tokens == TURN.tokens


async def test_a_turn_that_is_paused_in_the_middle_is_counted_and_nothing_is_held_for_it() -> None:
    async with bench(("One, two", asyncio.Event()), ("three",)) as it:
        await quota(it, tokens=1000)
        run = await begun(it)
        await it.models.said.wait()
        await tell(it, run, Pause())
        await run.still.wait()

        assert await used(it) == (12, 12)
        assert await fits(it, 988)
        await tell(it, run, GoOn())
        task = await end_of(run)

        assert (await used(it))[0] == task.tokens == 12 + TURN.tokens
    assert task.text == "One, twothree"


async def test_a_word_to_a_task_that_is_paused_does_not_count_its_turn_again() -> None:
    async with bench(("One, two", asyncio.Event()), ("three",)) as it:
        run = await begun(it)
        await it.models.said.wait()
        await tell(it, run, Pause())
        await run.still.wait()
        await tell(it, run, Say("More", "local", ""))
        task = await end_of(run)

        assert (await used(it))[0] == task.tokens == 12 + TURN.tokens
    assert task.text == "three"


async def test_the_rest_of_a_text_that_is_canceled_counts_what_was_said_before_as_its_prompt() -> (
    None
):
    async with bench(("One, two", asyncio.Event()), (" three", asyncio.Event())) as it:
        run = await begun(it)
        await it.models.said.wait()
        it.models.said.clear()
        await tell(it, run, Pause())
        await run.still.wait()
        await tell(it, run, GoOn())
        await it.models.said.wait()
        run.cancel("enough")
        task = await end_of(run)

    (ended_,) = [each for each in it.log.events if isinstance(each, ev.Canceled)]
    assert ended_.turn is not None
    assert (ended_.turn.prompt_tokens, ended_.turn.completion_tokens) == (12, 1)
    assert task.tokens == 12 + 13
