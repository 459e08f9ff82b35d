"""Talking with a task while it runs: steering, tools of the client, cancels, and refusals."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.struct_pb2 import Value
from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from services.inference.settings import EchoSettings
from tests.integration.orchestrator.conftest import Suite, started
from tests.integration.orchestrator.talks import (
    ADD,
    CALCULATE,
    call_in,
    log_of,
    reason_of,
    start,
    state_of,
    talk,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_talk_that_says_nothing_more_is_a_stream(suite: Suite) -> None:
    async with talk(suite, **start(CALCULATE)) as it:
        await it.half_close()
        await it.rest()

    assert it.types()[0] == "task_start"
    assert it.events[-1].status == "completed"
    assert [event.sequence for event in it.events] == list(range(1, len(it.events) + 1))


async def test_a_tool_of_the_client_is_run_by_it(suite: Suite) -> None:
    async with talk(suite, **start('tool:add {"a": 2}\nIt is 4.', client_tools=[ADD])) as it:
        asked = await it.until("input_required")
        output = Value(number_value=4)
        result = pb.ToolResult(tool_call_id=asked.tool_call_id, output=output)
        await it.say(tool_result=result)
        returned = await it.until("tool_result")
        await it.rest()

    assert (asked.tool_name, returned.status) == ("add", "success")
    assert returned.output.number_value == 4
    assert it.events[-1].status == "completed"


async def test_a_tool_of_the_client_may_fail(suite: Suite) -> None:
    async with talk(suite, **start('tool:add {"a": 2}\nNo luck.', client_tools=[ADD])) as it:
        asked = await it.until("input_required")
        await it.say(tool_result=pb.ToolResult(tool_call_id=asked.tool_call_id, error="too hot"))
        returned = await it.until("tool_result")
        await it.rest()

    assert (returned.status, returned.error.message) == ("error", "too hot")
    assert it.events[-1].status == "completed"


async def test_a_result_can_be_brought_by_rpc_and_again(suite: Suite) -> None:
    query = 'tool:add {"a": 2}\nsleep:300\nIt is 4.'
    task = await suite.stub.CreateTask(pb.InvokeRequest(query=query, client_tools=[ADD]), timeout=5)
    call_id = await call_in(suite, task.task_id, "input_required")
    request = pb.SubmitToolResultRequest(
        task_id=task.task_id, tool_call_id=call_id, output=Value(number_value=4)
    )

    await suite.stub.SubmitToolResult(request, timeout=5)
    again = await suite.stub.SubmitToolResult(request, timeout=5)

    assert again.task_id == task.task_id
    await state_of(suite, task.task_id, "completed")
    results = [e for e in await log_of(suite, task.task_id) if e.type == "tool_result"]
    assert len(results) == 1


async def test_something_more_interrupts_the_model_and_is_taken_into_account(suite: Suite) -> None:
    async with talk(suite, **start("sleep:5000\nHello")) as it:
        await it.until("task_start")
        await it.say(user_message=pb.UserMessage(text="Say goodbye instead"))
        said = await it.until("user_message")
        answer = await it.until("final_answer")
        await it.rest()

    assert (said.text, said.author) == ("Say goodbye instead", "local")
    assert answer.answer == "Say goodbye instead"
    assert it.events[-1].status == "completed"


async def test_text_that_was_said_before_something_more_does_not_count() -> None:
    slow = EchoSettings(delay=timedelta(milliseconds=20))
    async with (
        started(echo=slow) as suite,
        talk(suite, **start("tokens:500\nHello", tool_choice="none")) as it,
    ):
        await it.until("message_delta")
        request = pb.SteerTaskRequest(task_id=it.events[0].task_id, text="Stop")
        steered = await suite.stub.SteerTask(request, timeout=5)
        await it.rest()

    assert steered.task_id == it.events[0].task_id
    abandoned = [event for event in it.events if event.type == "step_abandoned"]
    assert [event.error.error_code for event in abandoned] == ["STEERED"]
    assert it.events[-2].answer == "Stop"


async def test_what_is_sent_again_with_its_key_is_said_once(suite: Suite) -> None:
    task = await suite.stub.CreateTask(pb.InvokeRequest(query="sleep:5000\nHello"), timeout=5)
    steer = pb.SteerTaskRequest(task_id=task.task_id, text="sleep:200\nBye", idempotency_key="k")
    other = pb.SteerTaskRequest(task_id=task.task_id, text="Or not", idempotency_key="k")
    by_header = pb.SteerTaskRequest(task_id=task.task_id, text=steer.text)

    first, again = await asyncio.gather(*(suite.stub.SteerTask(steer, timeout=5) for _ in "12"))
    reused = await reason_of(suite.stub.SteerTask(other, timeout=5))
    await state_of(suite, task.task_id, "completed")
    key = (("idempotency-key", "k"),)
    late = await suite.stub.SteerTask(by_header, timeout=5, metadata=key)

    assert reused == (grpc.StatusCode.ALREADY_EXISTS, "IDEMPOTENCY_KEY_REUSED")
    assert {first.task_id, again.task_id} == {task.task_id}
    assert late.status == "completed"
    said = [event for event in await log_of(suite, task.task_id) if event.type == "user_message"]
    assert [(each.text, each.idempotency_key) for each in said] == [(steer.text, "k")]


async def test_a_cancel_in_band_ends_the_task(suite: Suite) -> None:
    async with talk(suite, **start("sleep:5000\nHello")) as it:
        await it.until("task_start")
        await it.say(cancel=pb.Cancel(reason="enough"))
        await it.rest()

    assert (it.events[-1].status, it.events[-1].comment) == ("canceled", "enough")


@pytest.mark.parametrize(("on_disconnect", "end"), [("", "canceled"), ("continue", "completed")])
async def test_leaving_a_talk_is_as_leaving_a_stream(
    suite: Suite, on_disconnect: str, end: str
) -> None:
    query = start("sleep:300\nHello", on_disconnect=on_disconnect)
    async with talk(suite, **query) as it:
        await it.until("task_start")
        it.leave()

    assert (await state_of(suite, it.events[0].task_id, "canceled", "completed")).status == end


async def test_a_task_can_be_joined_and_left_alone(suite: Suite) -> None:
    task = await suite.stub.CreateTask(pb.InvokeRequest(query="sleep:300\nHello"), timeout=5)
    async with talk(suite, join=pb.WatchTaskRequest(task_id=task.task_id)) as it:
        await it.until("task_start")
        it.leave()

    assert (await state_of(suite, task.task_id, "canceled", "completed")).status == "completed"


async def test_a_message_that_is_refused_ends_the_talk_and_not_the_task(suite: Suite) -> None:
    async with talk(suite, **start("sleep:300\nHello")) as it:
        await it.until("task_start")
        await it.say(approval=pb.ToolApproval(tool_call_id="call_none", approved=True))
        refused = await reason_of(it.rest())

    assert refused == (grpc.StatusCode.FAILED_PRECONDITION, "APPROVAL_NOT_PENDING")
    ended = await state_of(suite, it.events[0].task_id, "canceled", "completed")
    assert ended.status == "completed"


FIRSTS: list[tuple[dict[str, Any], str]] = [
    ({}, "INVALID_REQUEST"),
    ({"user_message": pb.UserMessage(text="Hi")}, "INVALID_REQUEST"),
    ({"start": pb.InvokeRequest()}, "INVALID_REQUEST"),
    ({"join": pb.WatchTaskRequest(task_id="task_none")}, "TASK_NOT_FOUND"),
]


@pytest.mark.parametrize(("first", "reason"), FIRSTS, ids=lambda each: str(each)[:30])
async def test_a_talk_begins_with_a_task(suite: Suite, first: dict[str, Any], reason: str) -> None:
    async with talk(suite, **first) as it:
        refused = await reason_of(it.rest())

    assert refused[1] == reason


TOO_MUCH: list[Callable[[str], Any]] = [
    lambda task_id: ("SteerTask", pb.SteerTaskRequest(task_id=task_id)),
    lambda task_id: (
        "SteerTask",
        pb.SteerTaskRequest(task_id=task_id, text="x", idempotency_key="k" * 300),
    ),
    lambda task_id: ("SteerTask", pb.SteerTaskRequest(task_id=task_id, text="x" * 20_000)),
    lambda task_id: (
        "DenyToolCall",
        pb.DenyToolCallRequest(task_id=task_id, tool_call_id="c", comment="x" * 2000),
    ),
    lambda task_id: (
        "SubmitToolResult",
        pb.SubmitToolResultRequest(task_id=task_id, tool_call_id="c", error="x" * 2000),
    ),
]


@pytest.mark.parametrize("asked", TOO_MUCH)
async def test_what_is_empty_or_too_long_is_refused(
    suite: Suite, asked: Callable[[str], Any]
) -> None:
    task = await suite.stub.CreateTask(pb.InvokeRequest(query="sleep:200\nHi"), timeout=5)
    name, request = asked(task.task_id)

    refused = await reason_of(getattr(suite.stub, name)(request, timeout=5))

    assert refused == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")


async def test_nothing_can_be_said_to_a_task_that_has_ended(suite: Suite) -> None:
    answer = await suite.stub.Invoke(pb.InvokeRequest(query="Hello"), timeout=5)
    request = pb.SteerTaskRequest(task_id=answer.task_id, text="more")

    refused = await reason_of(suite.stub.SteerTask(request, timeout=5))

    assert refused == (grpc.StatusCode.FAILED_PRECONDITION, "TASK_ALREADY_ENDED")


async def test_names_of_client_tools_are_their_own(suite: Suite) -> None:
    taken = pb.ClientTool(name="calculator")
    request = pb.InvokeRequest(query="Hi", client_tools=[taken])

    refused = await reason_of(suite.stub.Invoke(request, timeout=5))

    assert refused == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")


async def test_a_call_that_does_not_fit_the_clients_schema_is_not_the_clients(suite: Suite) -> None:
    query = 'tool:add {"a": "two"}\nok'
    events = await suite.events(query, client_tools=[ADD])

    assert "input_required" not in [event.type for event in events]
    result = next(event for event in events if event.type == "tool_result")
    assert result.error.error_code == "TOOL_INPUT_INVALID"
