"""Agents that agents call, over real sockets."""

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from runplane.orchestrator.v1 import agents_pb2
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1.orchestrator_pb2 import TaskLimits

from services.orchestrator.settings import TaskSettings
from tests.integration.orchestrator.conftest import Suite, started
from tests.integration.orchestrator.test_orchestrator_agent_tasks import NUMBER, stored
from tests.integration.orchestrator.test_orchestrator_agents import (
    created,
    deleted,
    refused,
    schema_of,
    updated,
)
from tests.integration.orchestrator.test_orchestrator_lists import ended

pytestmark = pytest.mark.asyncio(loop_scope="module")

CODES = grpc.StatusCode


def asks(agent: str, query: str) -> str:
    """A line of a script: a call of an agent, which plays this query."""
    return f"tool:agent__{agent} {json.dumps({'query': query})}"


def only(events: list[pb.TaskEvent], kind: str) -> pb.TaskEvent:
    (event,) = [event for event in events if event.type == kind]
    return event


def result_of(events: list[pb.TaskEvent]) -> Any:
    return MessageToDict(only(events, "tool_result").output)


async def watched(suite: Suite, task_id: str) -> list[pb.TaskEvent]:
    """All events of a task, once it has ended."""
    async with asyncio.timeout(20):
        watching = suite.stub.WatchTask(pb.WatchTaskRequest(task_id=task_id))
        return [event async for event in watching]


async def child_of(suite: Suite, task_id: str) -> str:
    """The first child that a task begins."""
    async with asyncio.timeout(10):
        async for event in suite.stub.WatchTask(pb.WatchTaskRequest(task_id=task_id)):
            if event.type == "child_task":
                return event.child_task_id
    raise AssertionError("the task began no other")


async def pair(suite: Suite, name: str, **fields: Any) -> None:
    """`{name}_lead`, who may call `{name}_hand`."""
    await created(suite, f"{name}_hand", **fields)
    await created(suite, f"{name}_lead", tools=[f"agent__{name}_hand", "calculator"])


async def test_an_agent_is_called_as_a_tool(suite: Suite) -> None:
    await pair(suite, "plain")

    events = await suite.events(asks("plain_hand", "Hi") + "\nDone.", agent_id="plain_lead")

    child_id = only(events, "child_task").child_task_id
    child = await suite.stub.GetTask(pb.GetTaskRequest(task_id=child_id))
    parent = await suite.stub.GetTask(pb.GetTaskRequest(task_id=events[0].task_id))
    call, result = only(events, "tool_call"), only(events, "tool_result")
    kinds = [event.type for event in events if event.type != "message_delta"]
    assert kinds == [
        "task_start",
        "agent_thought",
        "tool_call",
        "child_task",
        "tool_result",
        "agent_thought",
        "final_answer",
        "task_complete",
    ]
    assert only(events, "child_task").tool_call_id == call.tool_call_id
    assert (call.tool_version, result.status) == ("1", "success")
    assert result_of(events) == {"answer": "Hi", "task_id": child_id}
    assert (child.query, child.result, child.agent_id) == ("Hi", "Hi", "plain_hand")
    assert (child.parent_task_id, child.owner) == (parent.task_id, parent.owner)
    assert child.deadline == parent.deadline
    assert result.tokens_used == child.metrics.tokens_used > 0
    assert parent.metrics.tokens_used > child.metrics.tokens_used
    start = (await watched(suite, child_id))[0]
    assert (start.parent_task_id, start.depth) == (parent.task_id, 1)


async def test_children_are_listed_by_their_parent(suite: Suite) -> None:
    await pair(suite, "listed")
    query = asks("listed_hand", "One") + "\n" + asks("listed_hand", "Two") + "\nDone."
    events = await suite.events(query, agent_id="listed_lead")

    where = f"parent_task_id = {events[0].task_id}"
    page = await suite.stub.ListTasks(pb.ListTasksRequest(filter=where))

    assert sorted(task.query for task in page.tasks) == ["One", "Two"]


async def test_an_answer_by_a_schema_is_json_in_the_result(suite: Suite) -> None:
    await pair(suite, "typed_child", response_schema=schema_of(NUMBER), tool_choice="none")

    query = asks("typed_child_hand", '{"n": 84}') + "\nDone."
    events = await suite.events(query, agent_id="typed_child_lead")

    assert result_of(events)["answer"] == {"n": 84}


async def test_a_long_answer_is_cut_for_the_parent_only(suite: Suite) -> None:
    await pair(suite, "long")

    events = await suite.events(asks("long_hand", "tokens:3000") + "\nDone.", agent_id="long_lead")

    result = result_of(events)
    child = await suite.stub.GetTask(pb.GetTaskRequest(task_id=result["task_id"]))
    assert result["is_cut"] is True
    assert len(result["answer"]) == 16_000 < len(child.result)


async def test_a_child_that_fails_is_a_failed_call(suite: Suite) -> None:
    await pair(suite, "failing")

    events = await suite.events(
        asks("failing_hand", "fail") + "\nSo be it.", agent_id="failing_lead"
    )

    result = only(events, "tool_result")
    child_id = only(events, "child_task").child_task_id
    assert (result.status, result.error.error_code) == ("error", "ENGINE_FAILED")
    assert child_id in result.error.message
    assert (await ended(suite, child_id)).status == "failed"
    assert (events[-1].status, only(events, "final_answer").answer) == ("completed", "So be it.")


@pytest.mark.parametrize("given", ["{}", '{"query": " "}', '{"query": 5}'])
async def test_a_call_without_a_query_is_refused(suite: Suite, given: str) -> None:
    if not (await suite.agents.ListAgents(agents_filter("empty_lead"))).agents:
        await pair(suite, "empty")

    events = await suite.events(f"tool:agent__empty_hand {given}\nDone.", agent_id="empty_lead")

    assert only(events, "tool_result").error.error_code == "INVALID_REQUEST"
    assert [event for event in events if event.type == "child_task"] == []


def agents_filter(agent_id: str) -> agents_pb2.ListAgentsRequest:
    return agents_pb2.ListAgentsRequest(filter=f"agent_id = {agent_id}")


async def test_the_default_agent_may_call_an_agent_that_the_request_names(suite: Suite) -> None:
    await created(suite, "named")

    events = await suite.events(asks("named", "Hi") + "\nDone.", tools=["agent__named"])

    assert result_of(events)["answer"] == "Hi"


async def test_no_agent_is_a_tool_that_nobody_named(suite: Suite) -> None:
    await created(suite, "unnamed")

    events = await suite.events(asks("unnamed", "Hi") + "\nDone.")

    assert only(events, "tool_result").error.error_code == "TOOL_NOT_FOUND"


async def test_agents_that_are_not_there_cannot_be_tools(suite: Suite) -> None:
    missing = (CODES.NOT_FOUND, "AGENT_NOT_FOUND", "tools[1]")
    tools = ["calculator", "agent__nobody"]

    assert await refused(created(suite, "orphan", tools=tools)) == missing
    request = pb.InvokeRequest(query="Hi", tools=tools)
    assert await refused(suite.stub.Invoke(request, timeout=5)) == missing


async def test_a_chain_of_agents_has_an_end(suite: Suite) -> None:
    await created(suite, "endless")
    await updated(suite, "endless", tools=["agent__endless"])
    query = "Bottom."
    for _ in range(5):
        query = asks("endless", query) + "\nUp."

    events = await suite.events(query, agent_id="endless")
    depths = []
    while children := [event.child_task_id for event in events if event.type == "child_task"]:
        events = await watched(suite, children[0])
        depths.append(events[0].depth)

    assert depths == [1, 2, 3, 4]
    assert only(events, "tool_result").error.error_code == "AGENT_DEPTH_EXCEEDED"
    assert events[-1].status == "completed"


async def test_a_child_gets_what_its_parent_has_left(suite: Suite) -> None:
    await pair(suite, "frugal", limits=TaskLimits(tokens=5000, duration_ms=60_000))
    query = asks("frugal_hand", "One") + "\n" + asks("frugal_hand", "Two") + "\nDone."

    events = await suite.events(query, agent_id="frugal_lead", limits=TaskLimits(tokens=2000))

    used = sum(event.usage.total_tokens for event in events if event.type == "tool_call")
    children = [event.child_task_id for event in events if event.type == "child_task"]
    starts = [(await watched(suite, child_id))[0] for child_id in children]
    assert [start.request.limits.tokens for start in starts] == [(2000 - used) // 2] * 2
    assert all(start.deadline.ToDatetime() <= events[0].deadline.ToDatetime() for start in starts)


async def test_a_child_has_no_more_than_its_agent_may(suite: Suite) -> None:
    await pair(suite, "modest", limits=TaskLimits(tokens=200, duration_ms=5000))

    query = asks("modest_hand", "Hi") + "\nDone."
    events = await suite.events(query, agent_id="modest_lead", limits=TaskLimits(tokens=9000))

    child = await watched(suite, only(events, "child_task").child_task_id)
    assert child[0].request.limits.tokens == 200
    assert child[0].deadline.ToDatetime() < events[0].deadline.ToDatetime()


async def test_a_cancel_reaches_the_children_first(suite: Suite) -> None:
    await pair(suite, "canceled")
    await created(suite, "canceled_top", tools=["agent__canceled_lead"])
    deep = asks("canceled_lead", asks("canceled_hand", "sleep:60000\nHi"))
    task = await suite.stub.CreateTask(pb.InvokeRequest(query=deep, agent_id="canceled_top"))
    lead = await child_of(suite, task.task_id)
    hand = await child_of(suite, lead)

    async with asyncio.timeout(5):
        request = pb.CancelTaskRequest(task_id=task.task_id, reason="enough")
        canceled = await suite.stub.CancelTask(request)

    tasks = [await ended(suite, each) for each in (hand, lead, task.task_id)]
    assert canceled.status == "canceled"
    assert [task.status for task in tasks] == ["canceled"] * 3
    ends = [task.update_time.ToDatetime() for task in tasks]
    assert ends == sorted(ends)
    assert (await watched(suite, hand))[-1].comment.endswith("enough")


async def test_a_deadline_ends_the_children_first(suite: Suite) -> None:
    await pair(suite, "late")
    limits = TaskLimits(duration_ms=600)
    query = asks("late_hand", "sleep:60000\nHi")

    events = await suite.events(query, agent_id="late_lead", limits=limits)

    child = await ended(suite, only(events, "child_task").child_task_id)
    assert events[-1].error.error_code == "TASK_TIMEOUT"
    assert child.status in {"failed", "canceled"}
    assert child.update_time.ToDatetime() <= events[-1].time.ToDatetime()


async def test_a_child_that_somebody_cancels_is_a_failed_call(suite: Suite) -> None:
    await pair(suite, "stopped")
    query = asks("stopped_hand", "sleep:60000\nHi") + "\nSo be it."
    task = await suite.stub.CreateTask(pb.InvokeRequest(query=query, agent_id="stopped_lead"))
    child_id = await child_of(suite, task.task_id)

    await suite.stub.CancelTask(pb.CancelTaskRequest(task_id=child_id))

    events = await watched(suite, task.task_id)
    assert only(events, "tool_result").error.error_code == "CHILD_CANCELED"
    assert events[-1].status == "completed"


async def test_children_need_no_place_of_their_own() -> None:
    async with started(tasks=TaskSettings(max_running=1, max_queued=1)) as small:
        await pair(small, "placed")
        query = asks("placed_hand", "One") + "\n" + asks("placed_hand", "Two") + "\nDone."
        both = (small.events(query, agent_id="placed_lead"), small.events("Hi"))

        async with asyncio.timeout(10):
            ends = [events[-1].status for events in await asyncio.gather(*both)]

        assert ends == ["completed", "completed"]


async def test_who_takes_a_parent_over_waits_for_the_child_that_was_begun(tmp_path: Path) -> None:
    async with started(shared=stored(tmp_path)) as first:
        await pair(first, "handed")
        query = asks("handed_hand", "sleep:1000\nHi") + "\nDone."
        task = await first.stub.CreateTask(pb.InvokeRequest(query=query, agent_id="handed_lead"))
        child_id = await child_of(first, task.task_id)
        await deleted(first, "handed_hand")

    one_place = TaskSettings(max_running=1)
    async with started(shared=stored(tmp_path), tasks=one_place) as second:
        events = await watched(second, task.task_id)
        child = await watched(second, child_id)

    assert only(events, "child_task").child_task_id == child_id
    assert result_of(events) == {"answer": "Hi", "task_id": child_id}
    assert (events[-1].status, child[-1].status) == ("completed", "completed")
