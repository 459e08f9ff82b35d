"""What a call of an agent takes from its parent, and what it brings back."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest
from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from services.orchestrator.delegation import Delegate
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.agent import Agent
from services.orchestrator.domain.letters import Decide
from services.orchestrator.domain.task import State, Task, replay
from services.orchestrator.journal import Journal
from services.orchestrator.ports import Errand
from services.orchestrator.post import Post
from services.orchestrator.run import Run
from services.orchestrator.worker import on_duty
from tests.unit.orchestrator.fakes import (
    NOW,
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

HAND: Final = Agent("hand", 1, "local", NOW, NOW, ev.Sampling(), {}, tool_choice="none")
ARM: Final = Agent("arm", 1, "local", NOW, NOW, ev.Sampling(), {}, tools=("look",))
ANSWER: Final = '{"thought": "t", "answer": "Done"}'
LOOK: Final = '{"thought": "t", "tool_calls": [{"tool": "look", "input": {}}]}'

DONE: Final = ev.Completed(NOW)
CALLED: Final[Sequence[ev.Event]] = (
    ev.ToolCalled(NOW, 1, 1, "call_1", "agent__hand", "1", {"query": "Hi"}, TURN),
    ev.ChildStarted(NOW, 1, 1, "call_1", "task_2"),
    ev.ChildChanged(NOW, 1, 1, "call_1", "agent__hand", "task_2", "approval"),
    ev.Waited(NOW, "child", NOW + timedelta(hours=24)),
)


def call_of(agent: Agent) -> str:
    call = f'{{"tool": "agent__{agent.agent_id}", "input": {{"query": "Hi"}}}}'
    return f'{{"thought": "t", "tool_calls": [{call}]}}'


async def begun(it: Bench, agent: Agent, *, approval_tools: Sequence[str] = ()) -> Run:
    """A task that may call the agent."""
    await it.world.agents.create("default", agent, None)
    tools = (f"agent__{agent.agent_id}",)
    asked = replace(REQUEST, tools=tools, approval_tools=approval_tools)
    run = (await it.tasks.start(asked, caller())).run
    assert run is not None
    return run


@pytest.mark.parametrize("size", [16_001, 70_000])
async def test_of_a_long_answer_the_parent_keeps_the_beginning(size: int) -> None:
    async with bench((call_of(HAND),), ("x" * size,), (ANSWER,)) as it:
        task = await end_of(await begun(it, HAND))

    output = task.steps[0].calls[0].output
    assert (task.state, task.text) == (State.COMPLETED, "Done")
    assert isinstance(output, dict)
    assert output["is_cut"] is True
    assert ("x" * size).startswith(output["answer"])
    assert len(output["answer"]) == (16_000 if size < 64 * 1024 else 4000)


async def test_what_the_parent_waited_for_counts_for_its_child_neither() -> None:
    async with bench((call_of(HAND),), ("Hi",), (ANSWER,)) as it, on_duty(it.worker, it.world):
        parent = await begun(it, HAND, approval_tools=("agent__hand",))
        await pass_time(1)
        (call,) = parent.task.unreturned
        it.clock.advance(timedelta(seconds=60))
        word = Decide(call.call_id, is_approved=True, comment="", author="her")
        await Post(it.world, it.worker, it.desk).send("default", parent.spec.task_id, word)
        task = await end_of(parent)
        (returned,) = task.steps[0].calls
        child = await it.log.load("default", returned.child_task_id)

    assert (task.state, returned.failure) == (State.COMPLETED, None)
    assert child.spec.deadline == task.deadline


async def test_a_call_that_needs_an_approval_needs_it_in_a_child_too() -> None:
    tools = FakeTools([tool("look")])
    async with bench((call_of(ARM),), (LOOK,), (ANSWER,), tools=tools) as it:
        parent = await begun(it, ARM, approval_tools=("look",))
        await pass_time(5)
        (call,) = parent.task.unreturned
        child = await it.log.load("default", call.child_task_id)
        called = len(it.tools.called)
        word = Decide(child.unreturned[0].call_id, is_approved=True, comment="", author="her")
        waiting = await it.log.load("default", parent.spec.task_id)
        await Post(it.world, it.worker, it.desk).send("default", call.child_task_id, word)
        async with asyncio.timeout(5):
            await it.log.until_end("default", parent.spec.task_id)
        task = await it.log.load("default", parent.spec.task_id)

    assert (child.state, child.wants, called) == (State.WAITING, "approval", 0)
    assert (waiting.state, waiting.wants) == (State.WAITING, "child")
    assert tuple(child.spec.approval_tools) == ("look",)
    assert (task.state, it.tools.called) == (State.COMPLETED, [("look", {})])


async def test_a_parent_that_was_not_told_sees_for_itself_that_its_child_has_ended() -> None:
    child = replace(SPEC, task_id="task_2", parent_task_id="task_1")
    async with bench((ANSWER,)) as it:
        await it.world.agents.create("default", HAND, None)
        begun, claim = await it.log.begin(ev.Started(NOW, child), None)
        await it.log.append(begun, [ev.Answered(NOW, 1, 1, "Hi", None, TURN), DONE], claim)
        asked = pb.InvokeRequest(query="Hello", tools=["agent__hand"]).SerializeToString()
        start = ev.Started(NOW, replace(SPEC, request=asked))
        parent, claim = await it.log.begin(start, None)
        parent = await it.log.append(parent, CALLED, claim)
        await it.log.park(parent, claim, delay=timedelta(hours=1))
        taken = await it.desk.take("default", "task_1")
        assert taken is not None
        task = await end_of(await it.worker.take_up(it.world, taken))

    (returned,) = task.steps[0].calls
    assert (task.state, returned.output) == (State.COMPLETED, {"answer": "Hi", "task_id": "task_2"})
    assert it.log.kinds().count("ChildChanged") == 2


class Waiting:
    """Children of which one runs already and gives its answer; none can begin."""

    def __init__(self, child: Task) -> None:
        self.child = child
        self.awaited: list[str] = []

    async def begin(self, errand: Errand) -> str:
        """See `Children`."""
        raise AssertionError(errand)

    async def still(self, tenant: str, task_id: str) -> Task:
        """See `Children`."""
        self.awaited.append(task_id)
        return self.child

    async def look(self, tenant: str, task_id: str) -> Task:
        """See `Children`."""
        return self.child

    async def tell_parent(self, child: ev.Spec) -> None:
        """See `Children`."""
        raise AssertionError(child)

    async def cancel(self, parent: ev.Spec, call_ids: Sequence[str], reason: str) -> None:
        """See `Children`."""


async def test_a_child_that_runs_already_is_waited_for_whatever_is_left_of_tokens() -> None:
    history: list[ev.Event] = [
        ev.Started(NOW, replace(SPEC, limits=ev.Limits(8, tokens=TURN.tokens))),
        ev.ToolCalled(NOW, 1, 1, "call_1", "agent__hand", "1", {"query": "Hi"}, TURN),
        ev.ChildStarted(NOW, 1, 1, "call_1", "task_2"),
    ]
    answered = [ev.Started(NOW, SPEC), ev.Answered(NOW, 1, 1, "Hi", None, TURN)]
    children = Waiting(replay([*answered, ev.Completed(NOW)]))
    async with bench() as it:
        task = replay(history)
        journal = Journal(it.log, it.worker.spawn, task, None)
        delegate = Delegate(children, journal, lambda: NOW, {})
        returned = await delegate.call(task.unreturned[0])

    assert children.awaited == ["task_2"]
    assert returned.output == {"answer": "Hi", "task_id": SPEC.task_id}


async def test_a_tool_is_called_as_what_it_is_and_not_as_what_its_name_looks_like() -> None:
    tools = FakeTools([tool("agent__hand")])
    async with bench((call_of(HAND),), (ANSWER,), tools=tools) as it:
        await it.world.agents.create("default", HAND, None)
        task = await it.ended()

    assert it.tools.called == [("agent__hand", {"query": "Hi"})]
    assert task.steps[0].calls[0].child_task_id == ""
