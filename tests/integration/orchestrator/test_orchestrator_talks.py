"""Talking with a task while it runs: steering, approvals, tools of the client, pauses."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct, Value
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status
from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from services.inference.settings import EchoSettings
from services.orchestrator.settings import TaskSettings
from tests.integration.orchestrator.conftest import Suite, started
from tests.integration.orchestrator.test_orchestrator_agents import created

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALCULATE = 'tool:calculator {"expression": "12*7"}\n12*7 is 84.'
ADD = pb.ClientTool(
    name="add",
    description="Adds.",
    input_schema=ParseDict(
        {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, Struct()
    ),
)


class Talk:
    """One `Converse` call, as a test drives it."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self.events: list[pb.TaskEvent] = []

    async def say(self, **message: Any) -> None:
        await self._call.write(pb.ConverseRequest(**message))

    async def until(self, kind: str) -> pb.TaskEvent:
        """Read on to the next event of this type."""
        async with asyncio.timeout(10):
            while (event := await self._call.read()) is not grpc.aio.EOF:
                self.events.append(event)
                if event.type == kind:
                    return event
        raise AssertionError(f"no {kind} in {self.types()}")

    async def rest(self) -> None:
        """Read to the end."""
        async with asyncio.timeout(10):
            while (event := await self._call.read()) is not grpc.aio.EOF:
                self.events.append(event)

    def types(self) -> list[str]:
        return [event.type for event in self.events]

    async def half_close(self) -> None:
        await self._call.done_writing()

    def leave(self) -> None:
        self._call.cancel()


@asynccontextmanager
async def talk(suite: Suite, **first: Any) -> AsyncIterator[Talk]:
    call = suite.stub.Converse(timeout=20)
    talking = Talk(call)
    await talking.say(**first)
    try:
        yield talking
    finally:
        call.cancel()


def start(query: str, **fields: Any) -> dict[str, pb.InvokeRequest]:
    return {"start": pb.InvokeRequest(query=query, **fields)}


async def reason_of(awaited: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with asyncio.timeout(10):
            await awaited
    return reason_in(caught.value)


def reason_in(error: grpc.aio.AioRpcError) -> tuple[grpc.StatusCode, str]:
    info = ErrorInfo()
    status = rpc_status.from_call(error)
    assert status is not None
    next(each for each in status.details if each.Is(ErrorInfo.DESCRIPTOR)).Unpack(info)
    return error.code(), info.reason


async def state_of(suite: Suite, task_id: str, *states: str) -> pb.Task:
    """A task, once it is in one of these states."""
    async with asyncio.timeout(10):
        while True:
            task = await suite.stub.GetTask(pb.GetTaskRequest(task_id=task_id), timeout=5)
            if task.status in states:
                return task
            await asyncio.sleep(0.01)


async def call_in(suite: Suite, task_id: str, kind: str) -> str:
    """The call that the first event of this type is about."""
    request = pb.WatchTaskRequest(task_id=task_id)
    events = suite.stub.WatchTask(request, timeout=10)
    return await anext(event.tool_call_id async for event in events if event.type == kind)


async def log_of(suite: Suite, task_id: str) -> list[pb.TaskEvent]:
    request = pb.WatchTaskRequest(task_id=task_id)
    return [event async for event in suite.stub.WatchTask(request, timeout=10)]


async def test_a_talk_that_says_nothing_more_is_a_stream(suite: Suite) -> None:
    async with talk(suite, **start(CALCULATE)) as it:
        await it.half_close()
        await it.rest()

    assert it.types()[0] == "task_start"
    assert it.events[-1].status == "completed"
    assert [event.sequence for event in it.events] == list(range(1, len(it.events) + 1))


async def test_a_call_that_needs_approval_waits_for_it_and_runs_then(suite: Suite) -> None:
    async with talk(suite, **start(CALCULATE, approval_tools=["calculator"])) as it:
        asked = await it.until("approval_required")
        waits = await it.until("status_changed")
        await it.say(approval=pb.ToolApproval(tool_call_id=asked.tool_call_id, approved=True))
        await it.rest()

    assert (asked.tool_name, waits.status, waits.wants) == ("calculator", "waiting", "approval")
    after = it.types()[it.types().index("status_changed") + 1 :]
    assert after[:3] == ["status_changed", "approval_decided", "tool_result"]
    assert it.events[-1].status == "completed"
    assert it.events[-1].metrics.tokens_used > 0


async def test_a_denial_is_told_to_the_model(suite: Suite) -> None:
    async with talk(suite, **start(CALCULATE, approval_tools=["*"])) as it:
        asked = await it.until("approval_required")
        denial = pb.ToolApproval(tool_call_id=asked.tool_call_id, comment="not today")
        await it.say(approval=denial)
        result = await it.until("tool_result")
        await it.rest()

    assert result.status == "error"
    assert result.error.error_code == "TOOL_CALL_DENIED"
    assert "not today" in result.error.message
    assert it.events[-1].status == "completed"


async def test_calls_that_need_no_approval_do_not_wait_for_those_that_do(suite: Suite) -> None:
    both = 'tool:calculator {"expression": "1+1"}\ntool:current_time {"timezone": "UTC"}\nok'
    async with talk(suite, **start(both, approval_tools=["calculator"])) as it:
        asked = await it.until("approval_required")
        result = await it.until("tool_result")
        await it.until("status_changed")
        await it.say(approval=pb.ToolApproval(tool_call_id=asked.tool_call_id, approved=True))
        await it.rest()

    assert result.tool_name == "current_time"
    assert it.events[-1].status == "completed"


async def test_a_stream_whose_time_is_over_leaves_a_task_that_waits(suite: Suite) -> None:
    asked = pb.InvokeRequest(query=CALCULATE, approval_tools=["calculator"])
    events = suite.stub.StreamInvoke(asked, timeout=1)
    task_id = (await anext(aiter(events))).task_id

    refused = await code_of(events)

    assert refused is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.sleep(0.2)  # For a cancel to take effect, if there were one.
    task = await suite.stub.GetTask(pb.GetTaskRequest(task_id=task_id), timeout=5)
    assert task.status == "waiting"
    assert task.deadline.ToDatetime() - task.create_time.ToDatetime() > timedelta(hours=23)


async def code_of(events: Any) -> grpc.StatusCode:
    """How a stream fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in events:
            pass
    code: grpc.StatusCode = caught.value.code()
    return code


async def test_an_approval_by_rpc_is_heard_before_it_is_answered(suite: Suite) -> None:
    asked = pb.InvokeRequest(query=CALCULATE, approval_tools=["calculator"])
    task = await suite.stub.CreateTask(asked, timeout=5)
    await state_of(suite, task.task_id, "waiting")
    call_id = await call_in(suite, task.task_id, "approval_required")
    request = pb.ApproveToolCallRequest(task_id=task.task_id, tool_call_id=call_id, comment="yes")

    first = await suite.stub.ApproveToolCall(request, timeout=5)

    assert first.status in ("running", "completed")
    ended = await state_of(suite, task.task_id, "completed")
    assert ended.result == "12*7 is 84."
    decided = [e for e in await log_of(suite, task.task_id) if e.type == "approval_decided"]
    assert [(e.approved, e.author, e.comment) for e in decided] == [(True, "local", "yes")]


async def test_an_agent_may_need_an_approval_that_its_request_does_not_ask_for(
    suite: Suite,
) -> None:
    await created(suite, "careful", approval_tools=["calculator"])
    async with talk(suite, **start(CALCULATE, agent_id="careful")) as it:
        asked = await it.until("approval_required")
        await it.say(approval=pb.ToolApproval(tool_call_id=asked.tool_call_id, approved=True))
        await it.rest()

    assert list(it.events[0].request.approval_tools) == ["calculator"]
    assert it.events[-1].status == "completed"


async def test_a_child_waits_for_an_approval_and_its_parent_for_the_child(suite: Suite) -> None:
    await created(suite, "guarded", approval_tools=["*"])
    await created(suite, "asker", tools=["agent__guarded"])
    query = f"tool:agent__guarded {json.dumps({'query': CALCULATE})}\nIt says so."
    async with talk(suite, **start(query, agent_id="asker")) as it:
        child = (await it.until("child_task")).child_task_id
        await state_of(suite, child, "waiting")
        await asyncio.sleep(2.5)  # Longer than a task that waits is kept at hand.
        call_id = await call_in(suite, child, "approval_required")
        await suite.stub.ApproveToolCall(
            pb.ApproveToolCallRequest(task_id=child, tool_call_id=call_id), timeout=5
        )
        await it.rest()

    result = next(event for event in it.events if event.type == "tool_result")
    assert (result.status, it.events[-1].status) == ("success", "completed")
    waits = [event.wants for event in await log_of(suite, child) if event.status == "waiting"]
    assert waits == ["approval"]


async def test_a_task_that_waits_holds_no_place_and_no_claim(suite: Suite) -> None:
    one = TaskSettings(max_running=1, max_queued=0, look=timedelta(milliseconds=50))
    async with started(one) as small:
        asked = pb.InvokeRequest(query=CALCULATE, approval_tools=["calculator"])
        task = await small.stub.CreateTask(asked, timeout=5)
        await state_of(small, task.task_id, "waiting")
        answer = await once_there_is_room(small)
        call_id = await call_in(small, task.task_id, "approval_required")
        deny = pb.DenyToolCallRequest(task_id=task.task_id, tool_call_id=call_id)
        await small.stub.DenyToolCall(deny, timeout=5)

        ended = await state_of(small, task.task_id, "completed", "failed")

    assert (answer.result, ended.status) == ("Hello", "completed")


async def once_there_is_room(suite: Suite) -> pb.InvokeResponse:
    """An answer, as soon as the suite takes another task."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await suite.stub.Invoke(pb.InvokeRequest(query="Hello"), timeout=5)
            except grpc.aio.AioRpcError as error:
                if reason_in(error)[1] != "TOO_MANY_TASKS":
                    raise
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("seconds", [0, 2.5], ids=["at hand", "parked"])
async def test_a_task_that_waits_can_be_cancelled_and_cancelled_again(
    suite: Suite, seconds: float
) -> None:
    asked = pb.InvokeRequest(query=CALCULATE, approval_tools=["calculator"])
    task = await suite.stub.CreateTask(asked, timeout=5)
    await state_of(suite, task.task_id, "waiting")
    await asyncio.sleep(seconds)  # How long it is kept at hand is a matter of time.
    request = pb.CancelTaskRequest(task_id=task.task_id, reason="enough")

    canceled = await suite.stub.CancelTask(request, timeout=5)
    again = await suite.stub.CancelTask(request, timeout=5)

    assert (canceled.status, again.status) == ("canceled", "canceled")
    events = await log_of(suite, task.task_id)
    assert (events[-1].status, events[-1].comment) == ("canceled", "enough")
    assert "tool_result" not in [event.type for event in events]


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


async def test_a_task_may_pause_when_its_callers_time_is_over(suite: Suite) -> None:
    query = 'tool:calculator {"expression": "12*7"}\n\nsleep:400\n84'
    asked = pb.InvokeRequest(query=query, timeout_ms=200, on_deadline="pause")
    answer = await suite.stub.Invoke(asked, timeout=5)
    paused = await state_of(suite, answer.task_id, "waiting", "completed")
    mark = pb.ContinueTaskRequest(continue_mark=answer.continue_mark)

    whole = await suite.stub.ContinueTask(mark, timeout=5)

    assert (answer.status, paused.status) == ("partial", "waiting")
    assert (whole.status, whole.result) == ("completed", "84")
    events = await log_of(suite, answer.task_id)
    assert [e.step_id for e in events if e.type == "tool_call"] == ["step_1"]
    changes = [(e.status, e.wants) for e in events if e.type == "status_changed"]
    assert changes == [("waiting", "continue"), ("running", "")]


async def test_a_text_that_was_paused_goes_on_where_it_stopped() -> None:
    text = " ".join(f"word{number}" for number in range(60))
    async with started(echo=EchoSettings(delay=timedelta(milliseconds=10))) as suite:
        asked = pb.InvokeRequest(query=text, timeout_ms=250, on_deadline="pause")
        answer = await suite.stub.Invoke(asked, timeout=5)
        await state_of(suite, answer.task_id, "waiting")
        mark = pb.ContinueTaskRequest(continue_mark=answer.continue_mark)
        whole = await suite.stub.ContinueTask(mark, timeout=5)
        events = await log_of(suite, answer.task_id)

    assert (answer.status, whole.status, whole.result) == ("partial", "completed", text)
    assert 0 < len(answer.partial_result) < len(text)
    assert "".join(event.text for event in events if event.type == "message_delta") == text
    assert "step_abandoned" not in [event.type for event in events]


async def test_waiting_does_not_count_and_does_not_last_for_ever() -> None:
    short = TaskSettings(
        duration=timedelta(milliseconds=300),
        max_wait=timedelta(seconds=1),
        look=timedelta(milliseconds=50),
    )
    async with started(short) as suite:
        asked = pb.InvokeRequest(query=CALCULATE, approval_tools=["calculator"])
        task = await suite.stub.CreateTask(asked, timeout=5)
        ended = await state_of(suite, task.task_id, "failed", "completed")

    assert ended.error.error_code == "TASK_WAIT_EXPIRED"
    assert ended.metrics.total_duration_ms > 900


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
