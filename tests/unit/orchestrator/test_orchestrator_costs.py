"""What tasks cost, at prices that a model has."""

from dataclasses import replace
from typing import Any

import pytest

from services.orchestrator.domain import events as ev
from services.orchestrator.domain.task import State, Task
from services.orchestrator.equipment import Equipment
from services.orchestrator.toolports import Returned
from tests.unit.orchestrator.fakes import (
    MODEL,
    SPEC,
    TURN,
    Bench,
    FakeTools,
    bench,
    end_of,
    tool,
)

PRICED = replace(MODEL, input_usd=2.0, output_usd=8.0)
A_TURN = (TURN.prompt_tokens * 2.0 + TURN.completion_tokens * 8.0) / 1e6
CALL = '{"thought": "t", "tool_calls": [{"tool": "look", "input": {}}]}'
ANSWER = '{"thought": "t", "answer": "Seen."}'


async def ended(it: Bench, model: Any = PRICED, **limits: Any) -> Task:
    spec = replace(SPEC, limits=ev.Limits(8, **limits))
    given = {each.name: each for each in it.tools.known}
    run = await it.worker.submit(it.world, spec, Equipment(model, given))
    return await end_of(run)


async def test_a_task_costs_what_its_turns_cost() -> None:
    async with bench((CALL,), (ANSWER,), tools=FakeTools([tool()])) as it:
        task = await ended(it)

    assert task.cost_usd == pytest.approx(2 * A_TURN)


async def test_what_an_agent_that_was_called_costs_is_its_callers() -> None:
    returned = Returned({}, None, 1.0, tokens=7, cost_usd=0.5)
    async with bench((CALL,), (ANSWER,), tools=FakeTools([tool()], [returned])) as it:
        task = await ended(it)
        again = await it.log.load("default", "task_1")

    assert task.cost_usd == pytest.approx(2 * A_TURN + 0.5)
    assert again.cost_usd == pytest.approx(task.cost_usd)


async def test_a_turn_that_its_limit_does_not_pay_for_does_not_begin() -> None:
    async with bench((CALL,), (ANSWER,), tools=FakeTools([tool()])) as it:
        task = await ended(it, cost_usd=A_TURN + 10 * 2.0 / 1e6)

    assert task.state is State.FAILED
    assert task.failure is not None
    assert (task.failure.reason, len(it.models.asked)) == ("COST_LIMIT_REACHED", 1)


async def test_a_turn_may_be_as_long_as_its_limit_pays_for() -> None:
    async with bench(("Hello",)) as it:
        await ended(it, cost_usd=(10 * 2.0 + 33.5 * 8.0) / 1e6)

    assert [asked.max_tokens for asked in it.models.asked] == [33]


async def test_a_model_that_charges_nothing_reaches_no_limit() -> None:
    async with bench(("Hello",)) as it:
        task = await ended(it, MODEL, cost_usd=1e-9)

    assert (task.state, task.cost_usd) == (State.COMPLETED, 0.0)
    assert [asked.max_tokens for asked in it.models.asked] == [MODEL.default_max_tokens]
