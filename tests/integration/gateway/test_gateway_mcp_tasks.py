"""The tasks extension: calls that last, asked after later."""

import asyncio
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from runplane.orchestrator.v1 import orchestrator_pb2
from runplane.tool_registry.v1 import tool_registry_pb2 as pb

from tests.integration.gateway.places import QUESTION, Place, packed
from tests.integration.gateway.rpc import TASKS, error, message, result, send
from tests.servers.registry import Told, asks, failed, success

pytestmark = pytest.mark.asyncio(loop_scope="module")

Wire = dict[str, Any]
BLOCK = {"type": "image", "data": "aGk=", "mimeType": "image/png"}
ASKABLE = {**TASKS, "elicitation": {}}


def long(place: Place, name: str, answer: Any) -> None:
    """A tool that takes long, and answers this."""
    place.tools.add(name, is_long_running=True)

    async def answers(request: pb.CallToolRequest, tell: Told) -> pb.CallToolResponse:
        if callable(answer):
            return await answer(request)  # type: ignore[no-any-return]
        copy = pb.CallToolResponse()
        copy.CopyFrom(answer)
        return copy

    place.tools.answers[name] = answers


async def begun(place: Place, name: str, arguments: Wire | None = None) -> Wire:
    """A task."""
    params = {"name": name, "arguments": arguments or {}}
    return await result(place, "tools/call", params, ASKABLE)


async def shown(place: Place, task_id: str, *statuses: str) -> Wire:
    """The task, as soon as it has one of these statuses."""
    async with asyncio.timeout(5):
        while True:
            task = await result(place, "tasks/get", {"taskId": task_id}, TASKS)
            if task["status"] in statuses:
                return task
            await asyncio.sleep(0.02)


async def ended(place: Place, task_id: str) -> Wire:
    """The task, as soon as it is over."""
    return await shown(place, task_id, "completed", "failed", "cancelled")


async def wait(request: pb.CallToolRequest) -> pb.CallToolResponse:
    await asyncio.Event().wait()
    return success({})


async def greet(request: pb.CallToolRequest) -> pb.CallToolResponse:
    if not request.HasField("input_responses"):
        return asks({"first": QUESTION, "second": QUESTION}, "the state")
    return success(MessageToDict(request.input_responses))


async def test_a_long_call_is_a_task_for_those_who_know_tasks(place: Place) -> None:
    long(place, "compute", success({"n": 1}))

    task = await begun(place, "compute")
    over = await ended(place, task["taskId"])

    assert (task["resultType"], task["ttlMs"], task["pollIntervalMs"]) == ("task", None, 500)
    assert task["status"] in {"working", "completed"}
    assert not {"result", "error", "inputRequests", "requestState", "task"} & task.keys()
    assert (over["resultType"], over["status"]) == ("complete", "completed")
    assert over["createdAt"] == task["createdAt"] <= over["lastUpdatedAt"]
    assert over["result"]["structuredContent"] == {"n": 1}
    assert over["result"]["content"] == [{"type": "text", "text": '{"n": 1}'}]


async def test_a_long_call_is_a_call_for_those_who_do_not(place: Place) -> None:
    long(place, "compute", success({"n": 1}))

    called = await result(place, "tools/call", {"name": "compute", "arguments": {}})

    assert (called["resultType"], called["structuredContent"]) == ("complete", {"n": 1})


async def test_a_short_call_stays_a_call(place: Place) -> None:
    place.tools.add("quick")

    called = await begun(place, "quick")

    assert called["resultType"] == "complete"


async def test_an_agent_is_asked_as_a_task(place: Place) -> None:
    await place.agent("patient")

    task = await begun(place, "agent__patient", {"query": "Hello"})
    over = await ended(place, task["taskId"])

    answer = over["result"]["structuredContent"]
    assert (answer["answer"], answer["task_id"]) == ("Hello", task["taskId"])


async def test_content_blocks_are_kept_with_the_task(place: Place) -> None:
    long(place, "draw", success({"n": 1}, content=[packed(BLOCK)]))

    over = await ended(place, (await begun(place, "draw"))["taskId"])

    assert over["result"]["content"] == [BLOCK]


async def test_a_tool_that_could_not_do_it_has_completed_with_an_error(place: Place) -> None:
    long(place, "compute", failed("TOO_HARD", "it is too hard", "ask for less"))

    over = await ended(place, (await begun(place, "compute"))["taskId"])

    assert over["status"] == "completed"
    assert over["result"]["isError"] is True
    assert "TOO_HARD" in over["result"]["content"][0]["text"]


async def test_a_server_that_broke_has_failed(place: Place) -> None:
    long(place, "compute", failed("MCP_ERROR", "it broke"))

    over = await ended(place, (await begun(place, "compute"))["taskId"])

    assert (over["status"], over["error"]["code"]) == ("failed", -32603)
    assert "it broke" in over["statusMessage"]
    assert "result" not in over


async def test_input_that_the_tool_would_refuse_begins_no_task(place: Place) -> None:
    schema = {"type": "object", "required": ["n"]}
    place.tools.add("picky", is_long_running=True, input_schema=schema)

    called = await begun(place, "picky")

    assert called["isError"] is True
    assert called["content"][0]["text"].startswith("TOOL_INPUT_INVALID")


async def test_a_task_can_be_cancelled_and_cancelled_again(place: Place) -> None:
    place.tools.cancelled.clear()
    long(place, "compute", wait)
    task_id = (await begun(place, "compute"))["taskId"]

    acks = [await result(place, "tasks/cancel", {"taskId": task_id}, TASKS) for _ in range(2)]
    over = await ended(place, task_id)

    assert [ack.keys() - {"_meta"} for ack in acks] == [{"resultType"}] * 2
    assert over["status"] == "cancelled"
    async with asyncio.timeout(5):
        await place.tools.cancelled.wait()


async def test_cancelling_what_has_ended_changes_nothing(place: Place) -> None:
    long(place, "compute", success({"n": 1}))
    task_id = (await begun(place, "compute"))["taskId"]
    await ended(place, task_id)

    ack = await result(place, "tasks/cancel", {"taskId": task_id}, TASKS)

    assert ack["resultType"] == "complete"
    assert (await ended(place, task_id))["status"] == "completed"


async def test_a_tool_that_asks_is_answered_by_an_update(place: Place) -> None:
    long(place, "greet", greet)
    task_id = (await begun(place, "greet"))["taskId"]
    waiting = await shown(place, task_id, "input_required")
    answers = {
        key: {"action": "accept", "content": {"name": key.rpartition(".")[2]}}
        for key in waiting["inputRequests"]
    }

    params = {"taskId": task_id, "inputResponses": {**answers, "unknown": {"action": "decline"}}}
    ack = await result(place, "tasks/update", params, TASKS)
    over = await ended(place, task_id)

    assert [each["method"] for each in waiting["inputRequests"].values()] == [
        "elicitation/create"
    ] * 2
    assert ack.keys() - {"_meta"} == {"resultType"}
    assert over["result"]["structuredContent"] == {
        "first": {"action": "accept", "content": {"name": "first"}},
        "second": {"action": "accept", "content": {"name": "second"}},
    }


async def test_answers_may_come_one_by_one(place: Place) -> None:
    long(place, "greet", greet)
    task_id = (await begun(place, "greet"))["taskId"]
    waiting = await shown(place, task_id, "input_required")
    first, second = waiting["inputRequests"]

    await answer(place, task_id, first)
    part = await result(place, "tasks/get", {"taskId": task_id}, TASKS)
    await answer(place, task_id, second)
    over = await ended(place, task_id)

    assert (part["status"], [*part["inputRequests"]]) == ("input_required", [second])
    assert over["result"]["structuredContent"].keys() == {"first", "second"}


async def answer(place: Place, task_id: str, key: str) -> None:
    """Answer one question."""
    given = {key: {"action": "accept", "content": {"name": "Ann"}}}
    params = {"taskId": task_id, "inputResponses": given}
    await result(place, "tasks/update", params, TASKS)


async def test_answers_to_nothing_are_passed_over(place: Place) -> None:
    long(place, "greet", greet)
    task_id = (await begun(place, "greet"))["taskId"]
    await shown(place, task_id, "input_required")

    params = {"taskId": task_id, "inputResponses": {"unknown": {"action": "accept"}}}
    ack = await result(place, "tasks/update", params, TASKS)

    assert ack["resultType"] == "complete"
    assert (await shown(place, task_id, "input_required"))["inputRequests"]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"action": "accept", "content": {"approved": True}}, "weather"),
        ({"action": "accept", "content": {"approved": False, "comment": "no"}}, "TOOL_CALL_DENIED"),
        ({"action": "decline"}, "TOOL_CALL_DENIED"),
        ({"action": "accept", "content": "yes, please"}, "TOOL_CALL_DENIED"),
    ],
    ids=["yes", "no", "declined", "no object"],
)
async def test_leave_to_call_a_tool_is_asked_for_and_given(
    place: Place, answer: Wire, text: str
) -> None:
    name = f"careful-{len(str(answer))}"
    place.tools.add("weather")
    await place.agent(name, tools=["weather"], approval_tools=["*"])
    query = {"query": 'tool:weather {"city": "Oslo"}'}
    task_id = (await begun(place, f"agent__{name}", query))["taskId"]
    waiting = await shown(place, task_id, "input_required")
    ((key, question),) = waiting["inputRequests"].items()

    await result(place, "tasks/update", {"taskId": task_id, "inputResponses": {key: answer}}, TASKS)
    over = await ended(place, task_id)
    log = place.behind.stub.WatchTask(orchestrator_pb2.WatchTaskRequest(task_id=task_id), timeout=5)
    events = [event async for event in log]

    assert 'weather be called with {"city": "Oslo"}' in question["params"]["message"]
    assert over["status"] == "completed"
    (outcome,) = (event for event in events if event.type == "tool_result")
    assert text in (outcome.tool_name, outcome.error.error_code)
    assert bool(place.tools.called) == (outcome.status == "success")


async def test_a_task_that_waits_for_nothing_of_its_client_is_working(place: Place) -> None:
    long(place, "compute", wait)
    task_id = (await begun(place, "compute"))["taskId"]

    task = await result(place, "tasks/get", {"taskId": task_id}, TASKS)

    assert task["status"] == "working"
    assert not {"result", "error", "inputRequests"} & task.keys()


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
async def test_those_who_do_not_know_tasks_are_told_so(place: Place, method: str) -> None:
    params = {"taskId": "task_1", "inputResponses": {}}

    status, said = await error(place, method, params)

    assert (status, said["code"]) == (400, -32021)
    assert said["data"] == {"requiredCapabilities": TASKS}


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
async def test_a_task_that_is_not_there_is_an_invalid_parameter(place: Place, method: str) -> None:
    params = {"taskId": "task_nothing", "inputResponses": {}}

    status, said = await error(place, method, params, TASKS)

    assert (status, said["code"], said["data"]["error_code"]) == (400, -32602, "TASK_NOT_FOUND")


@pytest.mark.parametrize("named", [{"Mcp-Name": "task_other"}, {}], ids=["another", "none"])
async def test_the_header_names_the_task_of_the_body(place: Place, named: dict[str, str]) -> None:
    sent = message("tasks/get", {"taskId": "task_1"}, TASKS)

    response = await send(place, sent, named, without="" if named else "Mcp-Name")

    assert (response.status_code, response.json()["error"]["code"]) == (400, -32020)


@pytest.mark.parametrize("method", ["tasks/list", "tasks/result"])
async def test_what_the_extension_does_not_have_is_not_there(place: Place, method: str) -> None:
    status, said = await error(place, method, {"taskId": "task_1"}, TASKS)

    assert (status, said["code"]) == (404, -32601)


async def test_the_extension_is_advertised(place: Place) -> None:
    found = await result(place, "server/discover")

    assert found["capabilities"]["extensions"]["io.modelcontextprotocol/tasks"] == {}
    assert "tasks" not in found["capabilities"]
