"""Tasks that run as an agent."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from services.chassis.errors import NotFound
from services.orchestrator.domain.agent import Agent, Limits
from services.orchestrator.domain.events import Sampling
from services.orchestrator.domain.task import State
from services.orchestrator.run import Run
from tests.unit.orchestrator.fakes import (
    NOW,
    REQUEST,
    Bench,
    FakeTools,
    bench,
    caller,
    end_of,
    tool,
)

AGENT: Final = Agent(
    "helper",
    1,
    "local",
    NOW,
    NOW,
    Sampling(seed=3),
    {},
    instructions="You help.",
    tools=("look",),
    limits=Limits(steps=3, tokens=500, duration_ms=2000),
)
ANSWER: Final = '{"thought": "t", "answer": "Hello"}'


async def begun(it: Bench, **changes: Any) -> Run:
    """A task that runs as the agent."""
    task = await it.tasks.create(replace(REQUEST, agent_id="helper", **changes), caller())
    run = it.worker.find("default", task.spec.task_id)
    assert run is not None
    return run


async def test_a_task_runs_as_its_agent() -> None:
    async with bench((ANSWER,), tools=FakeTools([tool("look"), tool("leap")])) as it:
        await it.world.agents.create("default", AGENT, None)
        run = await begun(it)
        task = await end_of(run)

    spec = run.spec
    assert (task.state, task.text) == (State.COMPLETED, "Hello")
    assert (spec.agent_id, spec.agent_version, spec.tools) == ("helper", 1, ("look",))
    assert (spec.limits.steps, spec.limits.tokens) == (3, 500)
    assert spec.deadline == NOW + timedelta(seconds=2)
    assert it.models.asked[0].sampling.seed == 3
    assert it.models.asked[0].messages[0].content.startswith("You help. Reply with")
    assert "leap" not in it.models.asked[0].messages[0].content


async def test_a_task_that_is_taken_up_again_keeps_its_agents_version() -> None:
    hangs = asyncio.Event()
    async with bench((hangs,), (ANSWER,), tools=FakeTools([tool("look"), tool("leap")])) as it:
        await it.world.agents.create("default", AGENT, None)
        first = await begun(it)
        await it.models.said.wait()
        first.give_up()
        await first.done.wait()
        await it.world.agents.update(
            "default", replace(AGENT, version=2, instructions="You leap.", tools=("leap",))
        )
        await it.world.agents.delete("default", replace(AGENT, version=2))
        task = await it.log.load("default", first.spec.task_id)
        again = Run(it.world, task, first.claim)
        await again.execute()

    assert (again.task.state, again.task.text) == (State.COMPLETED, "Hello")
    assert (again.spec.agent_version, again.spec.tools) == (1, ("look",))
    assert (again.spec.limits, again.spec.sampling) == (first.spec.limits, first.spec.sampling)
    assert it.models.asked[1].messages[0] == it.models.asked[0].messages[0]


async def test_a_deleted_agent_begins_nothing() -> None:
    async with bench(("Hello",)) as it:
        await it.world.agents.create("default", AGENT, None)
        await it.world.agents.delete("default", AGENT)
        with pytest.raises(NotFound) as caught:
            await begun(it)

    assert caught.value.reason == "AGENT_NOT_FOUND"
    assert it.log.kinds() == []
