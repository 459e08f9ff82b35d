"""Tasks whose turns may come from the cache."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from services.chassis.hotstore.memory import MemoryHotStore
from services.orchestrator.adapters.answers import Answers
from services.orchestrator.adapters.cached_models import CachedModels
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.task import State, Task
from services.orchestrator.ports import Errand
from services.orchestrator.toolports import Returned
from services.orchestrator.usecases import children
from tests.unit.orchestrator.caches import BOUNDS, GREEDY, heard
from tests.unit.orchestrator.fakes import (
    LEASE,
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

CALL: Final = '{"thought": "t", "tool_calls": [{"tool": "look", "input": {}}]}'
ANSWER: Final = '{"thought": "t", "answer": "Seen."}'
NUMBER: Final = {"type": "integer"}


@asynccontextmanager
async def cached(*turns: Sequence[Line], tools: FakeTools | None = None) -> AsyncIterator[Bench]:
    async with bench(*turns, tools=tools) as it:
        answers = Answers(MemoryHotStore(), BOUNDS, it.clock)
        it.before = CachedModels(it.models, answers, it.worker.spawn)
        yield it


async def ended(it: Bench, number: int, **changes: Any) -> Task:
    spec = replace(SPEC, task_id=f"task_{number}", sampling=GREEDY)
    return await it.ended(spec, **changes)


async def test_the_same_task_again_costs_nothing_and_says_so() -> None:
    async with cached((CALL,), (ANSWER,), tools=FakeTools([tool()])) as it:
        first = await ended(it, 1)
        again = await ended(it, 2)
        stored = await it.log.load("default", "task_2")

    assert (first.text, first.tokens, first.is_cached) == ("Seen.", 2 * TURN.tokens, False)
    assert (again.text, again.tokens, again.is_cached) == ("Seen.", 0, True)
    assert (again.cost_usd, again.saved_tokens) == (0, 2 * TURN.tokens)
    assert (stored.is_cached, stored.saved_tokens) == (True, 2 * TURN.tokens)
    assert (len(it.models.asked), len(it.tools.called)) == (2, 2)


async def test_a_task_whose_last_turn_a_model_said_is_not_cached() -> None:
    ends = [Returned({"seen": number}, None, 1.0) for number in (1, 2)]
    async with cached((CALL,), (ANSWER,), tools=FakeTools([tool()], ends)) as it:
        await ended(it, 1)
        again = await ended(it, 2)

    assert (again.text, again.is_cached) == ("Seen.", False)
    assert (again.tokens, again.saved_tokens) == (TURN.tokens, TURN.tokens)


async def test_what_is_not_what_was_asked_for_is_not_said_again() -> None:
    async with cached(("nothing",), ("7",)) as it:
        first = await ended(it, 1, response_schema=NUMBER)
        again = await ended(it, 2, response_schema=NUMBER)

    assert (first.output, again.output) == (7, 7)
    assert (first.at, again.at) == ((1, 2), (1, 1))
    assert len(it.models.asked) == 2


async def test_a_turn_of_the_cache_that_is_no_good_is_asked_for_anew() -> None:
    async with cached(("nothing",)) as it:
        await ended(it, 1, response_schema=NUMBER)
        assert it.before is not None
        await heard(it.before, it.models.asked[0])
        it.models.turns = (("7",),)
        task = await ended(it, 2, response_schema=NUMBER)

    assert (task.state, task.output, task.at) == (State.COMPLETED, 7, (1, 2))
    assert (task.is_cached, task.saved_tokens, task.tokens) == (False, TURN.tokens, TURN.tokens)


async def test_a_task_that_only_the_cache_may_answer_fails_where_it_cannot() -> None:
    async with cached() as it:
        task = await ended(it, 1, cache="only-if-cached")

    assert task.failure is not None
    assert (task.failure.code, task.failure.reason) == ("FAILED_PRECONDITION", "ANSWER_NOT_CACHED")
    assert not it.models.asked


async def test_a_cached_turn_takes_nothing_of_what_a_task_may_use() -> None:
    limits = ev.Limits(8, tokens=40)
    async with cached((CALL,), (ANSWER,), tools=FakeTools([tool()])) as it:
        first = await ended(it, 1, limits=limits)
        again = await ended(it, 2, limits=limits)

    assert [first.state, again.state] == [State.COMPLETED, State.COMPLETED]
    assert (first.tokens, again.tokens) == (2 * TURN.tokens, TURN.tokens)
    assert it.models.asked[-1].max_tokens == 30


async def test_a_worker_that_stops_hands_over_those_who_share_a_turn() -> None:
    async with cached(("Hel", asyncio.Event())) as it:
        runs = [await it.submit(replace(SPEC, task_id=f"task_{n}", sampling=GREEDY)) for n in "12"]
        await it.models.said.wait()
    names = ("task_1", "task_2")
    left = [await it.log.store.take("default", name, "another", lease=LEASE) for name in names]

    assert [run.is_lost for run in runs] == [True, True]
    assert len(it.models.asked) == 1
    assert [run.task.state for run in runs] == [State.RUNNING, State.RUNNING]
    assert None not in left


async def test_a_cancel_of_one_task_leaves_those_who_share_its_turn_alone() -> None:
    go_on = asyncio.Event()
    async with cached(("Hel", go_on, "lo")) as it:
        runs = [await it.submit(replace(SPEC, task_id=f"task_{n}", sampling=GREEDY)) for n in "123"]
        await it.models.said.wait()
        it.worker.cancel(runs[0], "enough")
        canceled = await end_of(runs[0])
        go_on.set()
        others = [await end_of(run) for run in runs[1:]]

    assert canceled.state is State.CANCELED
    assert [(each.text, each.tokens) for each in others] == [("Hello", TURN.tokens), ("Hello", 0)]
    assert len(it.models.asked) == 1


def test_what_a_task_says_of_the_cache_goes_on_to_the_agents_it_calls() -> None:
    parent = replace(SPEC, cache="no-store")
    errand = Errand(parent, "call_1", "helper", "Help", None, None, NOW + timedelta(seconds=9))

    assert children._request(errand).cache == "no-store"
