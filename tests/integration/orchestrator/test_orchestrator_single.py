"""Tasks that are one call of a tool."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import sessions_pb2
from runplane.tool_registry.v1 import tool_registry_pb2 as tools_pb
from runplane.type.v1 import content_pb2, usage_pb2

from services.chassis.hotstore.memory import MemoryHotStore
from services.chassis.hotstore.port import Entry as Published
from services.chassis.schema import Schema
from services.chassis.telling import Progress
from services.tool_registry.domain.tool import Definition, Entry
from services.tool_registry.ports import Answer as ToolAnswer
from services.tool_registry.ports import Invocation, Requests
from tests.integration.orchestrator.conftest import Suite, started
from tests.integration.orchestrator.places import Place, placed
from tests.integration.orchestrator.talks import (
    call_in,
    log_of,
    reason_in,
    reason_of,
    state_of,
    talk,
)
from tests.integration.orchestrator.test_orchestrator_asking import ACCEPTED, DATE, book, responses
from tests.servers.registry import Told, failed, success

pytestmark = pytest.mark.asyncio(loop_scope="module")


def call(tool: str = "calculator", given: Any = None, **fields: Any) -> pb.ToolCallSpec:
    given = {"expression": "12*7"} if given is None else given
    return pb.ToolCallSpec(tool=tool, input=ParseDict(given, Struct()), **fields)


@pytest_asyncio.fixture(loop_scope="module")
async def place() -> AsyncIterator[Place]:
    """With tools of all kinds."""
    async with placed() as found:
        found.tools.add("weather", "1.2.0")
        found.tools.add("weather", "2.0.0")
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        found.tools.add("count", input_schema=schema, reports_progress=True)
        found.tools.add("book", is_idempotent=True)
        found.tools.add("click", kind=tools_pb.TOOL_KIND_CLIENT)
        found.tools.answers["book"] = book
        yield found


async def test_a_call_is_a_task_that_ends_with_the_tools_result(suite: Suite) -> None:
    response = await suite.stub.Invoke(pb.InvokeRequest(call=call()), timeout=5)
    events = await log_of(suite, response.task_id)

    assert (response.status, response.result) == ("completed", '{"value": 84}')
    assert MessageToDict(response.output) == {"value": 84}
    assert [event.type for event in events] == [
        "task_start",
        "tool_call",
        "tool_result",
        "final_answer",
        "task_complete",
    ]
    assert response.metrics.tokens_used == 0
    assert response.metadata.model == ""


async def test_who_is_told_of_an_event_finds_a_task_that_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish = MemoryHotStore.publish

    async def slowly(self: MemoryHotStore, topic: str, entries: Sequence[Published]) -> None:
        """As a hot store elsewhere, whose watchers hear of an event before its writer goes on."""
        await publish(self, topic, entries)
        await asyncio.sleep(0.05)

    monkeypatch.setattr(MemoryHotStore, "publish", slowly)
    seen: list[tuple[str, int, Any]] = []
    async with started() as suite:
        async for event in suite.stub.StreamInvoke(pb.InvokeRequest(call=call()), timeout=5):
            wanted = pb.GetTaskRequest(task_id=event.task_id)
            task = await suite.stub.GetTask(wanted, timeout=5)
            again = await suite.stub.GetTask(wanted, timeout=5)
            seen += [(event.type, event.sequence, each) for each in (task, again)]

    assert all(task.last_sequence >= sequence for _, sequence, task in seen)
    ends = [(sequence, task) for kind, sequence, task in seen if kind == "task_complete"]
    assert [(task.status, task.last_sequence) for _, task in ends] == [("completed", 5)] * 2
    assert {task.last_sequence for *_, task in seen if task.status == "completed"} == {5}


async def test_whoever_asks_again_and_again_sees_no_end_without_its_whole_log(suite: Suite) -> None:
    query = 'thought:think\ntool:calculator {"expression": "1+1"}\nsleep:20\none two three'
    tasks = [await suite.stub.CreateTask(pb.InvokeRequest(query=query)) for _ in range(8)]
    async with asyncio.timeout(10):
        seen = await asyncio.gather(*(seen_of(suite, task.task_id) for task in tasks))
    lengths = [len(await log_of(suite, task.task_id)) for task in tasks]

    for each, length in zip(seen, lengths, strict=True):
        assert [task.last_sequence for task in each if task.status == "completed"] == [length] * 2
        assert all(task.last_sequence < length for task in each[:-2])


async def seen_of(suite: Suite, task_id: str) -> list[pb.Task]:
    """What a task looks like to somebody who asks again and again, and twice at its end."""
    request, seen = pb.GetTaskRequest(task_id=task_id), list[pb.Task]()
    while not seen or seen[-1].status != "completed":
        seen.append(await suite.stub.GetTask(request))
    return [*seen, await suite.stub.GetTask(request)]


async def test_a_call_needs_no_model() -> None:
    async with started(inference_target="127.0.0.1:1") as alone:
        response = await alone.stub.Invoke(pb.InvokeRequest(call=call()), timeout=5)

    assert (response.status, response.result) == ("completed", '{"value": 84}')


async def test_a_call_may_take_as_long_as_its_tool(place: Place) -> None:
    place.tools.tools["", "weather"][-1].timeout_ms = 3_600_000
    usual = await place.suite.stub.CreateTask(pb.InvokeRequest(call=call("weather", {})), timeout=5)
    bound = await place.suite.stub.CreateTask(
        pb.InvokeRequest(call=call("weather", {}), timeout_ms=1000), timeout=5
    )

    assert usual.deadline.seconds - usual.create_time.seconds in (3602, 3603)
    assert bound.deadline.seconds - bound.create_time.seconds in (1, 2)


async def test_a_call_is_in_no_session(suite: Suite) -> None:
    listing = sessions_pb2.ListSessionsRequest(page_size=1000)
    before = await suite.sessions.ListSessions(listing, timeout=5)
    task = await suite.stub.CreateTask(pb.InvokeRequest(call=call()), timeout=5)
    after = await suite.sessions.ListSessions(listing, timeout=5)

    assert task.session_id == ""
    assert len(after.sessions) == len(before.sessions)


async def test_a_call_has_the_version_that_it_asks_for(place: Place) -> None:
    request = pb.InvokeRequest(call=call("weather", {}, version="^1"))
    response = await place.suite.stub.Invoke(request, timeout=5)

    assert MessageToDict(response.output) == {"version": "1.2.0"}


@pytest.mark.parametrize(
    ("asked", "reason", "field"),
    [
        (call("nothing"), "TOOL_NOT_FOUND", "call.tool"),
        (call("agent__x"), "INVALID_REQUEST", "call.tool"),
        (call("weather", {}, version="^3"), "TOOL_VERSION_NOT_FOUND", "call.version"),
        (call("weather", {}, version="newest!"), "INVALID_REQUEST", "call.version"),
        (call("count", {}), "TOOL_INPUT_INVALID", "call.input"),
        (call("count", {"n": "7"}), "TOOL_INPUT_INVALID", "call.input.n"),
        (call("weather", {"text": "a" * 300_000}), "INVALID_REQUEST", "call.input"),
    ],
)
async def test_a_call_that_cannot_be_made_is_no_task(
    place: Place, asked: pb.ToolCallSpec, reason: str, field: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await place.suite.stub.CreateTask(pb.InvokeRequest(call=asked), timeout=5)

    assert reason_in(caught.value)[1] == reason
    assert str(caught.value.details()).startswith(field)


@pytest.mark.parametrize(
    "beside",
    [
        {"query": "Hello"},
        {"messages": [content_pb2.Message(role="user", content="Hello")]},
        {"model": "echo"},
        {"agent_id": "me"},
        {"session_id": "session_1"},
        {"tools": ["calculator"]},
        {"tool_choice": "none"},
        {"response_schema": ParseDict({"type": "object"}, Struct())},
        {"sampling": usage_pb2.Sampling(seed=1)},
        {"limits": pb.TaskLimits(tokens=5)},
    ],
    ids=lambda each: next(iter(each)),
)
async def test_nothing_is_said_to_a_model_beside_a_call(
    suite: Suite, beside: dict[str, Any]
) -> None:
    request = pb.InvokeRequest(call=call(), **beside)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await suite.stub.CreateTask(request, timeout=5)

    assert reason_in(caught.value)[1] == "INVALID_REQUEST"
    assert str(caught.value.details()).startswith(next(iter(beside)))


async def test_a_tool_that_fails_fails_its_task_with_its_own_reason(place: Place) -> None:
    async def fail(request: tools_pb.CallToolRequest, _: Told) -> tools_pb.CallToolResponse:
        return failed("PLACE_UNKNOWN", "there is no Oslo", "name a city")

    place.tools.answers["weather"] = fail
    request = pb.InvokeRequest(call=call("weather", {}))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await place.suite.stub.Invoke(request, timeout=5)

    code, reason = reason_in(caught.value)
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "PLACE_UNKNOWN")
    assert caught.value.details() == "the tool weather failed: there is no Oslo"


async def test_a_call_waits_for_its_approval(suite: Suite) -> None:
    first = {"start": pb.InvokeRequest(call=call(), approval_tools=["*"])}
    async with talk(suite, **first) as it:
        asked = await it.until("approval_required")
        await it.until("status_changed")
        yes = pb.ToolApproval(tool_call_id=asked.tool_call_id, approved=True)
        await it.say(approval=yes)
        await it.rest()

    assert (it.events[-1].status, it.events[-2].answer) == ("completed", '{"value": 84}')


async def test_a_call_that_is_denied_is_a_task_that_failed(suite: Suite) -> None:
    first = {"start": pb.InvokeRequest(call=call(), approval_tools=["calculator"])}
    async with talk(suite, **first) as it:
        asked = await it.until("approval_required")
        await it.say(approval=pb.ToolApproval(tool_call_id=asked.tool_call_id))
        await it.rest()

    error = it.events[-1].error
    assert (error.grpc_status, error.error_code) == ("PERMISSION_DENIED", "TOOL_CALL_DENIED")


async def test_a_call_waits_for_what_its_tool_asks_for(place: Place) -> None:
    async with talk(place.suite, start=pb.InvokeRequest(call=call("book", {}))) as it:
        asked = await it.until("input_required")
        answer = pb.ToolResult(tool_call_id=asked.tool_call_id, input_responses=responses(ACCEPTED))
        await it.say(tool_result=answer)
        await it.rest()

    assert MessageToDict(it.events[-2].output)["told"] == ACCEPTED


async def test_a_caller_that_can_be_asked_for_nothing_says_so(place: Place) -> None:
    spec = call("book", {}, capabilities=Struct())
    task = await place.suite.stub.CreateTask(pb.InvokeRequest(call=spec), timeout=5)

    ended = await state_of(place.suite, task.task_id, "failed")

    assert ended.error.error_code == "TOOL_INPUT_REFUSED"
    (called,) = place.tools.called
    assert called.request.HasField("capabilities")
    assert not called.request.capabilities.fields


async def test_a_call_may_be_the_clients(place: Place) -> None:
    async with talk(place.suite, start=pb.InvokeRequest(call=call("click", {}))) as it:
        asked = await it.until("input_required")
        await it.say(tool_result=pb.ToolResult(tool_call_id=asked.tool_call_id, error="broken"))
        await it.rest()

    error = it.events[-1].error
    assert (error.grpc_status, error.error_code) == ("FAILED_PRECONDITION", "CLIENT_TOOL_FAILED")


async def test_a_cancel_of_a_call_reaches_the_tool(place: Place) -> None:
    began = asyncio.Event()

    async def wait(request: tools_pb.CallToolRequest, _: Told) -> tools_pb.CallToolResponse:
        began.set()
        await asyncio.Event().wait()
        return success({})

    place.tools.answers["count"] = wait
    request = pb.InvokeRequest(call=call("count", {"n": 1}))
    task = await place.suite.stub.CreateTask(request, timeout=5)
    async with asyncio.timeout(5):
        await began.wait()
        cancel = pb.CancelTaskRequest(task_id=task.task_id, reason="enough")
        canceled = await place.suite.stub.CancelTask(cancel, timeout=5)
        await place.tools.cancelled.wait()

    assert canceled.status == "canceled"


async def test_a_call_hears_no_words(place: Place) -> None:
    async with talk(place.suite, start=pb.InvokeRequest(call=call("book", {}))) as it:
        await it.until("status_changed")
        steer = pb.SteerTaskRequest(task_id=it.events[0].task_id, text="Hurry!")
        code, reason = await reason_of(place.suite.stub.SteerTask(steer, timeout=5))

    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TASK_IS_TOOL_CALL")


async def test_the_same_key_is_the_same_call(place: Place) -> None:
    request = pb.InvokeRequest(call=call("weather", {}), idempotency_key="once")
    first = await place.suite.stub.Invoke(request, timeout=5)
    second = await place.suite.stub.Invoke(request, timeout=5)
    other = pb.InvokeRequest(call=call("weather", {"n": 1}), idempotency_key="once")
    _, reason = await reason_of(place.suite.stub.Invoke(other, timeout=5))

    assert first.task_id == second.task_id
    assert (len(place.tools.called), reason) == (1, "IDEMPOTENCY_KEY_REUSED")


class Asking:
    """A tool of the real registry, which says how far it is and asks for something."""

    unavailable = ""
    entry = Entry(
        Definition(
            "book",
            "1.0.0",
            "Books.",
            Schema({"type": "object"}, field="input"),
            Schema({}, field="output"),
            (),
            timedelta(seconds=5),
            reports_progress=True,
        )
    )

    async def call(self, invocation: Invocation) -> ToolAnswer:
        """See `Tool`."""
        invocation.report(Progress(len(invocation.responses), 1, "booking"))
        if not invocation.responses:
            return ToolAnswer(None, requests=Requests({"date": DATE}, "sealed"))
        return ToolAnswer({"told": invocation.responses, "state": invocation.state})


async def test_a_tool_of_the_real_registry_says_how_far_it_is_and_asks() -> None:
    async with (
        started(more=[Asking()]) as suite,
        talk(suite, start=pb.InvokeRequest(call=call("book", {}))) as it,
    ):
        asked = await it.until("input_required")
        answer = pb.ToolResult(tool_call_id=asked.tool_call_id, input_responses=responses(ACCEPTED))
        await it.say(tool_result=answer)
        await it.rest()

    said = [event.progress for event in it.events if event.type == "tool_progress"]
    assert said[:1] == [0]
    assert it.events[-1].status == "completed"
    told = MessageToDict(it.events[-2].output)
    assert (told["told"], told["state"]) == (ACCEPTED, "sealed")


def asked(**fields: Any) -> pb.ToolCallSpec:
    """A call that was made before, in which the tool asked for a date."""
    fields.setdefault("input_requests", ParseDict({"date": DATE}, Struct()))
    return call("book", {}, request_state="sealed", **fields)


async def test_a_call_in_which_a_tool_has_asked_already_begins_with_the_question(
    place: Place,
) -> None:
    request = pb.InvokeRequest(call=asked(), approval_tools=["book"])
    task = await place.suite.stub.CreateTask(request, timeout=5)
    await state_of(place.suite, task.task_id, "waiting")
    call_id = await call_in(place.suite, task.task_id, "input_required")
    calls_before = len(place.tools.called)

    submit = pb.SubmitToolResultRequest(
        task_id=task.task_id, tool_call_id=call_id, input_responses=responses(ACCEPTED)
    )
    await place.suite.stub.SubmitToolResult(submit, timeout=5)
    await call_in(place.suite, task.task_id, "approval_required")
    approve = pb.ApproveToolCallRequest(task_id=task.task_id, tool_call_id=call_id)
    await place.suite.stub.ApproveToolCall(approve, timeout=5)
    ended = await state_of(place.suite, task.task_id, "completed")

    assert MessageToDict(ended.output) == {"told": ACCEPTED, "state": "sealed"}
    (called,) = place.tools.called
    assert calls_before == 0
    assert called.request.idempotency_key == f"{call_id}-1"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"input_requests": Struct()}, "call.input_requests"),
        (
            {"input_requests": ParseDict({"it": {"method": "roots/list"}}, Struct())},
            "call.input_requests",
        ),
        ({"capabilities": Struct()}, "call.input_requests"),
        ({"input_requests": None}, "call.request_state"),
    ],
    ids=["nothing", "roots", "nobody", "state alone"],
)
async def test_what_no_task_asks_for_a_tool_is_refused_at_once(
    place: Place, fields: dict[str, Any], field: str
) -> None:
    request = pb.InvokeRequest(call=asked(**fields))

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await place.suite.stub.CreateTask(request, timeout=5)

    assert reason_in(caught.value) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert str(caught.value.details()).startswith(f"{field}: ")
