"""What a task's calls wait for, as the task itself says it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.json_format import MessageToDict
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2 as tools_pb

from tests.integration.orchestrator.places import Place, placed
from tests.integration.orchestrator.talks import log_of, state_of
from tests.integration.orchestrator.test_orchestrator_asking import ACCEPTED, DATE, book, responses
from tests.integration.orchestrator.test_orchestrator_single import call
from tests.servers.registry import Told, asks, success

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALL = 'tool:weather {"city": "Oslo"}\ntool:book {}\ntool:click {"at": 7}\nDone.'
LOGS = 600  # More events than anybody reads back.


@pytest_asyncio.fixture(loop_scope="module")
async def place() -> AsyncIterator[Place]:
    """With tools that wait for a word, each another one."""
    async with placed() as found:
        found.tools.add("weather", "1.2.0")
        found.tools.add("book", is_idempotent=True)
        found.tools.answers["book"] = book
        found.tools.add("click", kind=tools_pb.TOOL_KIND_CLIENT)
        yield found


async def shown(place: Place, task_id: str) -> pb.Task:
    return await place.suite.stub.GetTask(pb.GetTaskRequest(task_id=task_id), timeout=5)


async def waiting(place: Place, **fields: Any) -> pb.Task:
    task = await place.suite.stub.CreateTask(pb.InvokeRequest(**fields), timeout=5)
    await state_of(place.suite, task.task_id, "waiting")
    return await shown(place, task.task_id)


async def test_a_task_says_what_each_of_its_calls_waits_for(place: Place) -> None:
    task = await waiting(place, query=ALL, approval_tools=["weather"])

    told = {each.tool_name: MessageToDict(each) for each in task.pending_requests}
    for each in told.values():
        assert each.pop("toolCallId").startswith("call_")
    assert told == {
        "weather": {"toolName": "weather", "wants": "approval", "input": {"city": "Oslo"}},
        "book": {"toolName": "book", "wants": "input", "inputRequests": {"date": DATE}, "round": 1},
        "click": {"toolName": "click", "wants": "input", "input": {"at": 7}},
    }


async def test_a_question_is_there_however_much_was_said_since(place: Place) -> None:
    asked = asyncio.Event()

    async def ask(request: tools_pb.CallToolRequest, _: Told) -> tools_pb.CallToolResponse:
        asked.set()
        return asks({"date": DATE})

    async def chatter(request: tools_pb.CallToolRequest, tell: Told) -> tools_pb.CallToolResponse:
        await asked.wait()
        for number in range(200):
            said = tools_pb.ToolLog(level="info", message=str(number))
            await tell(tools_pb.ToolCallEvent(type="log", log=said))
        return success({})

    place.tools.answers["book"] = ask
    for name in ("a", "b", "c"):
        place.tools.add(name, reports_progress=True)
        place.tools.answers[name] = chatter
    task = await waiting(place, query="tool:book {}\ntool:a {}\ntool:b {}\ntool:c {}\nDone.")

    place.tools.answers["book"] = book
    events = await seen(place, task.task_id)
    assert [event.type for event in events].count("tool_log") == LOGS
    (pending,) = task.pending_requests
    assert MessageToDict(pending.input_requests) == {"date": DATE}


async def seen(place: Place, task_id: str) -> list[pb.TaskEvent]:
    """Its log so far: a cancel ends it."""
    await place.suite.stub.CancelTask(pb.CancelTaskRequest(task_id=task_id), timeout=5)
    return await log_of(place.suite, task_id)


async def test_what_was_answered_or_canceled_is_not_waited_for(place: Place) -> None:
    task = await waiting(place, query="tool:book {}\ntool:click {}\nDone.")
    calls = {each.tool_name: each.tool_call_id for each in task.pending_requests}
    submit = pb.SubmitToolResultRequest(
        task_id=task.task_id,
        tool_call_id=calls["book"],
        input_responses=responses(ACCEPTED),
    )

    answered = await place.suite.stub.SubmitToolResult(submit, timeout=5)
    cancel = pb.CancelTaskRequest(task_id=task.task_id)
    canceled = await place.suite.stub.CancelTask(cancel, timeout=5)

    assert [each.tool_name for each in answered.pending_requests] == ["click"]
    assert not canceled.pending_requests


async def test_a_tool_that_asks_again_is_in_another_round(place: Place) -> None:
    async def pester(request: tools_pb.CallToolRequest, _: Told) -> tools_pb.CallToolResponse:
        return asks({"date": DATE})

    place.tools.answers["book"] = pester
    task = await waiting(place, query="tool:book {}\nDone.")
    (first,) = task.pending_requests
    submit = pb.SubmitToolResultRequest(
        task_id=task.task_id, tool_call_id=first.tool_call_id, input_responses=responses(ACCEPTED)
    )
    await place.suite.stub.SubmitToolResult(submit, timeout=5)
    await state_of(place.suite, task.task_id, "waiting")
    task = await shown(place, task.task_id)

    place.tools.answers["book"] = book
    (second,) = task.pending_requests
    assert (first.round, second.round) == (1, 2)
    assert first.tool_call_id == second.tool_call_id


async def test_a_task_of_one_call_says_which_tool_it_runs(place: Place) -> None:
    task = await waiting(place, call=call("book", {}, version="^1.0"))
    listing = await place.suite.stub.ListTasks(pb.ListTasksRequest(page_size=1), timeout=5)

    assert MessageToDict(task.call) == {"tool": "book", "version": "1.0.0"}
    (listed,) = listing.tasks
    assert (listed.task_id, listed.call) == (task.task_id, task.call)
    assert task.pending_requests
    assert not listed.pending_requests
    other = await place.suite.stub.Invoke(pb.InvokeRequest(query="Hello"), timeout=5)
    assert not (await shown(place, other.task_id)).HasField("call")
