"""Tasks that run as an agent."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest
from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from services.chassis.errors import NotFound, Unavailable
from services.chassis.telling import Progress
from services.orchestrator.domain.agent import Agent, Limits
from services.orchestrator.domain.events import CallSpec, Pinned, Sampling, ToolReturned
from services.orchestrator.domain.request import Request
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
CALL: Final = '{"thought": "t", "tool_calls": [{"tool": "look", "input": {}}]}'
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


async def given_up(it: Bench, run: Run) -> Run:
    """The same task, as another worker takes it up."""
    run.give_up()
    await run.done.wait()
    task = await it.log.load("default", run.spec.task_id)
    return Run(it.world, task, run.claim)


async def test_a_task_that_is_taken_up_again_keeps_its_tools_versions() -> None:
    hangs = asyncio.Event()
    tools = FakeTools([tool("look")])
    async with bench((hangs,), (CALL,), (ANSWER,), tools=tools) as it:
        task = await it.tasks.create(REQUEST, caller())
        run = it.worker.find("default", task.spec.task_id)
        assert run is not None
        await it.models.said.wait()
        newer = replace(tool("look"), version="2.0.0", is_deprecated=True)
        tools.known, tools.older = [newer, tool("leap")], [tool("look")]
        again = await given_up(it, run)
        await again.execute()

    assert again.spec.pinned == Pinned((("look", "1.0.0"),))
    assert again.task.state is State.COMPLETED
    assert [each.tool.version for each in tools.invocations] == ["1.0.0"]
    assert "leap" not in it.models.asked[1].messages[0].content


async def test_a_tool_that_was_deleted_is_still_there_to_be_refused() -> None:
    hangs, gone = asyncio.Event(), NotFound("TOOL_NOT_FOUND", "there is no look")
    tools = FakeTools([tool("look")], ends=[gone])
    async with bench((hangs,), (CALL,), (ANSWER,), tools=tools) as it:
        task = await it.tasks.create(replace(REQUEST, tools=("look",)), caller())
        run = it.worker.find("default", task.spec.task_id)
        assert run is not None
        await it.models.said.wait()
        tools.known = []
        again = await given_up(it, run)
        await again.execute()

    assert again.task.state is State.COMPLETED
    (call,) = again.task.steps[0].calls
    assert call.failure is not None
    assert (call.tool_version, call.failure.reason) == ("1.0.0", "TOOL_NOT_FOUND")


CALLED: Final = replace(REQUEST, query="", call=CallSpec("look", "", {"at": 1}), source=b"")


async def test_a_call_that_is_taken_up_again_is_made_again_under_its_id() -> None:
    tools = FakeTools([replace(tool("look"), reports_progress=True)], says=[Progress(1)])
    async with bench(tools=tools) as it:
        it.log.holds = ToolReturned
        task = await it.tasks.create(source(CALLED), caller())
        run = it.worker.find("default", task.spec.task_id)
        assert run is not None
        await it.log.holding.wait()
        it.log.holds = type(None)
        it.log.refuses, it.log.refusal = ToolReturned, Unavailable("GONE", "gone")
        it.log.let_go.set()
        await run.done.wait()
        it.log.refuses = type(None)
        again = Run(it.world, await it.log.load("default", task.spec.task_id), run.claim)
        await again.execute()

    assert (again.task.state, again.task.output) == (State.COMPLETED, {})
    assert len({each.idempotency_key for each in tools.invocations}) == 1
    assert (len(tools.invocations), it.models.asked) == (2, [])


async def test_a_call_waits_its_turn_as_any_task() -> None:
    hangs = asyncio.Event()
    async with bench((hangs,), tools=FakeTools([tool("look")]), max_running=1) as it:
        first = await it.submit()
        await it.models.said.wait()
        task = await it.tasks.create(source(CALLED), caller())
        queued = it.worker.find("default", task.spec.task_id)
        hangs.set()
        assert queued is not None
        ended = await end_of(queued)
        await end_of(first)

    assert task.state is State.PENDING
    assert (ended.state, ended.text) == (State.COMPLETED, "{}")


def source(request: Request) -> Request:
    """A request as it came."""
    message = pb.InvokeRequest()
    assert request.call is not None
    message.call.tool = request.call.tool
    message.call.input.update(dict(request.call.input))
    return replace(request, source=message.SerializeToString())
