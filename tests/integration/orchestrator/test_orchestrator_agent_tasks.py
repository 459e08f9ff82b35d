"""Tasks that run as an agent, over real sockets."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1.orchestrator_pb2 import TaskLimits

from services.chassis.settings import SharedSettings
from tests.integration.orchestrator.conftest import SHARED, Suite, started
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
NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def stored(folder: Path) -> SharedSettings:
    """An orchestrator's settings whose tasks another can go on with."""
    return SHARED.model_copy(update={"event_store": f"sqlite:///{folder}"})


async def invoked(suite: Suite, query: str, **fields: Any) -> pb.InvokeResponse:
    return await suite.stub.Invoke(pb.InvokeRequest(query=query, **fields), timeout=10)


async def test_a_task_shows_its_agent_and_what_it_runs_with(suite: Suite) -> None:
    await created(
        suite, "shown", tools=["calculator", "current_time"], limits=TaskLimits(steps=3, tokens=900)
    )

    events = await suite.events(
        "Hello", agent_id="shown", tools=["calculator"], limits=TaskLimits(steps=2)
    )
    task = await suite.stub.GetTask(pb.GetTaskRequest(task_id=events[0].task_id))

    start = events[0]
    assert (start.agent_id, start.agent_version) == ("shown", 1)
    assert (list(start.request.tools), start.request.model) == (["calculator"], "echo")
    assert start.request.limits == TaskLimits(steps=2, tokens=900)
    assert (task.agent_id, task.agent_version, task.status) == ("shown", 1, "completed")


async def test_the_answer_matches_the_agents_schema(suite: Suite) -> None:
    await created(suite, "typed", response_schema=schema_of(NUMBER), tool_choice="none")

    response = await invoked(suite, '{"n": 84}', agent_id="typed")

    assert MessageToDict(response.output) == {"n": 84}


async def test_a_new_task_runs_as_the_newest_version(suite: Suite) -> None:
    await created(suite, "newest", limits=TaskLimits(steps=1))
    await updated(suite, "newest", limits=TaskLimits(steps=5))

    start, *_ = await suite.events("Hello", agent_id="newest")

    assert (start.agent_version, start.request.limits.steps) == (2, 5)


async def test_tasks_are_listed_by_their_agent(suite: Suite) -> None:
    await created(suite, "busy")
    response = await invoked(suite, "Hello", agent_id="busy")

    page = await suite.stub.ListTasks(pb.ListTasksRequest(filter="agent_id = busy"))

    assert [task.task_id for task in page.tasks] == [response.task_id]


async def test_a_repeated_start_is_the_same_task_whatever_became_of_the_agent(
    suite: Suite,
) -> None:
    await created(suite, "once")
    fields = {"agent_id": "once", "idempotency_key": "once"}
    first = await invoked(suite, "Hello", **fields)
    await deleted(suite, "once")

    assert (await invoked(suite, "Hello", **fields)).task_id == first.task_id


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"agent_id": "a b"}, (CODES.INVALID_ARGUMENT, "INVALID_REQUEST", "agent_id")),
        ({"agent_id": "nobody"}, (CODES.NOT_FOUND, "AGENT_NOT_FOUND", "agent_id")),
        (
            {"agent_id": "narrow", "tools": ["calculator", "current_time"]},
            (CODES.INVALID_ARGUMENT, "TOOL_NOT_ALLOWED", "tools[1]"),
        ),
        (
            {"agent_id": "narrow", "limits": TaskLimits(steps=9)},
            (CODES.INVALID_ARGUMENT, "INVALID_REQUEST", "limits.steps"),
        ),
    ],
)
async def test_what_an_agent_may_not_do_is_no_task(
    suite: Suite, fields: dict[str, Any], refusal: tuple[grpc.StatusCode, str, str]
) -> None:
    if fields.get("agent_id") == "narrow" and "tools" in fields:
        await created(suite, "narrow", tools=["calculator"], limits=TaskLimits(steps=3))

    assert await refused(invoked(suite, "Hello", labels={"for": "refusal"}, **fields)) == refusal
    page = await suite.stub.ListTasks(pb.ListTasksRequest(filter="labels.for = refusal"))
    assert list(page.tasks) == []


async def test_who_takes_a_task_over_runs_it_as_the_version_it_began_with(tmp_path: Path) -> None:
    async with started(shared=stored(tmp_path)) as first:
        await created(first, "kept", tools=["calculator"])
        query = 'sleep:1500\ntool:calculator {"expression": "12*7"}\nDone.'
        task = await first.stub.CreateTask(pb.InvokeRequest(query=query, agent_id="kept"))
        await updated(first, "kept", tools=["current_time"])

    async with started(shared=stored(tmp_path)) as second:
        over = await ended(second, task.task_id)
        watching = second.stub.WatchTask(pb.WatchTaskRequest(task_id=task.task_id))
        events = [event async for event in watching]

    assert (over.status, over.result, over.agent_version) == ("completed", "Done.", 1)
    results = [event.status for event in events if event.type == "tool_result"]
    assert results == ["success"]
