import asyncio
import itertools
from collections.abc import Awaitable
from datetime import timedelta

import grpc
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_status import rpc_status
from runplane.inference.v1 import inference_pb2
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.type.v1.content_pb2 import Message
from runplane.type.v1.usage_pb2 import Sampling

from services.inference.settings import EchoSettings
from services.orchestrator.settings import TaskSettings
from tests.integration.orchestrator.conftest import Suite, started

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALCULATE = 'tool:calculator {"expression": "12*7"}\n12*7 is 84.'
ONE_TOKEN = inference_pb2.GenerateRequest(
    messages=[Message(role="user", content="x")], sampling=Sampling(max_tokens=1)
)


async def refused(call: Awaitable[object]) -> tuple[grpc.StatusCode, ErrorInfo]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with asyncio.timeout(10):
            await call
    return caught.value.code(), error_info(caught.value)


def error_info(error: grpc.aio.AioRpcError) -> ErrorInfo:
    info = ErrorInfo()
    status = rpc_status.from_call(error)
    assert status is not None
    next(each for each in status.details if each.Is(ErrorInfo.DESCRIPTOR)).Unpack(info)
    return info


def types(events: list[pb.TaskEvent]) -> list[str]:
    return [event.type for event in events]


def schema_of(document: dict[str, object]) -> Struct:
    return ParseDict(document, Struct())


async def test_a_query_is_answered_with_the_shape_that_users_see(suite: Suite) -> None:
    response = await suite.stub.Invoke(pb.InvokeRequest(query="Hello"), timeout=5)

    assert (response.status, response.result) == ("completed", "Hello")
    assert response.task_id.startswith("task_")
    assert response.metadata.session_id.startswith("session_")
    assert response.metadata.model == "echo"
    assert response.metrics.tokens_used > 0
    assert response.metrics.total_duration_ms >= response.metrics.time_to_first_token_ms > 0


async def test_an_agent_thinks_calls_a_tool_and_answers(suite: Suite) -> None:
    events = await suite.events(CALCULATE)

    assert [kind for kind, _ in itertools.groupby(types(events))] == [
        "task_start",
        "agent_thought",
        "tool_call",
        "tool_result",
        "agent_thought",
        "message_delta",
        "final_answer",
        "task_complete",
    ]
    called, returned = (e for e in events if e.type in ("tool_call", "tool_result"))
    assert MessageToDict(called.input) == {"expression": "12*7"}
    assert (returned.status, MessageToDict(returned.output)) == ("success", {"value": 84.0})
    assert called.tool_call_id == returned.tool_call_id
    assert events[-1].status == "completed"


async def test_sequences_have_no_gap_and_deltas_add_up_to_the_answer(suite: Suite) -> None:
    events = await suite.events("tokens:20000")

    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    text = "".join(event.text for event in events if event.type == "message_delta")
    (answer,) = (event.answer for event in events if event.type == "final_answer")
    assert text == answer
    assert len(answer.split()) > 1000


async def test_the_last_event_sums_up_the_task(suite: Suite) -> None:
    last = (await suite.events(CALCULATE))[-1]

    assert [chunk.type for chunk in last.chunks] == [
        "thought",
        "tool_call",
        "result",
        "thought",
        "result",
    ]
    assert last.chunks[1].tool == "calculator"
    assert last.event_type == "task_complete"
    assert last.metrics.tool_duration_ms > 0


async def test_tools_of_one_step_run_at_the_same_time(suite: Suite) -> None:
    query = "\n".join(f'tool:calculator {{"expression": "{n}+1"}}' for n in range(3))

    events = await suite.events(query)

    kinds = [kind for kind in types(events) if kind.startswith("tool")]
    assert kinds == ["tool_call"] * 3 + ["tool_result"] * 3
    assert {e.step_id for e in events if e.type == "tool_result"} == {"step_1"}


async def test_a_tools_refusal_is_told_to_the_model_and_the_task_goes_on(suite: Suite) -> None:
    calls = ('calculator {"expresion": "1"}', 'calculator {"expression": "1/0"}', "teleport {}")
    query = "\n\n".join(f"tool:{call}" for call in calls) + "\nok"

    events = await suite.events(query)

    errors = [e.error.error_code for e in events if e.type == "tool_result"]
    assert errors == ["TOOL_INPUT_INVALID", "DIVISION_BY_ZERO", "TOOL_NOT_FOUND"]
    assert events[-1].status == "completed"


async def test_every_watcher_gets_the_same_bytes_whenever_it_joins(suite: Suite) -> None:
    seen = await suite.events(CALCULATE)
    task_id = seen[0].task_id

    async def watch(after: int) -> list[bytes]:
        request = pb.WatchTaskRequest(task_id=task_id, after_sequence=after)
        return [
            event.SerializeToString() async for event in suite.stub.WatchTask(request, timeout=5)
        ]

    whole = [event.SerializeToString() for event in seen]
    assert [await watch(after) for after in range(len(whole) + 2)] == [
        whole[after:] for after in range(len(whole) + 2)
    ]


async def test_a_watcher_that_joins_in_the_middle_sees_the_rest_live(suite: Suite) -> None:
    call = suite.stub.StreamInvoke(pb.InvokeRequest(query="sleep:300\nlate"), timeout=10)
    start = await call.read()
    watching = suite.stub.WatchTask(pb.WatchTaskRequest(task_id=start.task_id), timeout=10)

    seen = [event.sequence async for event in watching]

    streamed = [start.sequence]
    while (event := await call.read()) is not grpc.aio.EOF:
        streamed.append(event.sequence)
    assert seen == streamed


async def test_get_shows_a_running_task_and_then_its_answer(suite: Suite) -> None:
    call = suite.stub.StreamInvoke(pb.InvokeRequest(query="sleep:200\nlate"), timeout=10)
    start = await call.read()
    request = pb.GetTaskRequest(task_id=start.task_id)

    running = await suite.stub.GetTask(request, timeout=5)
    while await call.read() is not grpc.aio.EOF:
        pass
    ended = await suite.stub.GetTask(request, timeout=5)

    assert (running.status, running.state) == ("running", pb.TASK_STATE_RUNNING)
    assert (ended.status, ended.result, ended.query) == ("completed", "late", "sleep:200\nlate")


async def test_another_tenant_does_not_see_the_task(suite: Suite) -> None:
    response = await suite.stub.Invoke(pb.InvokeRequest(query="mine"), timeout=5)
    other = (("runplane-tenant", "other"),)

    request = pb.GetTaskRequest(task_id=response.task_id)
    code, info = await refused(suite.stub.GetTask(request, timeout=5, metadata=other))

    assert (code, info.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")


async def test_cancel_stops_the_engine_and_keeps_what_was_said() -> None:
    slow = EchoSettings(slots=1, queue=1, delay=timedelta(milliseconds=5))
    async with started(echo=slow) as suite, asyncio.timeout(10):
        query = pb.InvokeRequest(query="tokens:100000", tool_choice="none")
        call = suite.stub.StreamInvoke(query, timeout=10)
        events = aiter(call)
        start, first = await anext(events), await anext(events)

        request = pb.CancelTaskRequest(task_id=start.task_id, reason="enough")
        canceled = await suite.stub.CancelTask(request, timeout=5)
        rest = [event async for event in events]
        # Its one slot is free again.
        await suite.inference.Generate(ONE_TOKEN, timeout=5)

    said = "".join(event.text for event in (first, *rest) if event.type == "message_delta")
    assert first.text.startswith("tok1 ")
    assert (canceled.status, canceled.result) == ("canceled", said)
    assert (rest[-1].type, rest[-1].status) == ("task_complete", "canceled")


async def test_cancel_twice_answers_the_same(suite: Suite) -> None:
    call = suite.stub.StreamInvoke(pb.InvokeRequest(query="sleep:60000\nnever"), timeout=10)
    start = await call.read()

    request = pb.CancelTaskRequest(task_id=start.task_id, reason="enough")
    first = await suite.stub.CancelTask(request, timeout=5)
    again = await suite.stub.CancelTask(request, timeout=5)

    assert (first.status, again.status) == ("canceled", "canceled")
    assert first.last_sequence == again.last_sequence


async def test_cancel_of_a_completed_task_is_refused(suite: Suite) -> None:
    response = await suite.stub.Invoke(pb.InvokeRequest(query="x"), timeout=5)

    request = pb.CancelTaskRequest(task_id=response.task_id)
    code, info = await refused(suite.stub.CancelTask(request, timeout=5))

    assert (code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TASK_ALREADY_ENDED")


async def ended(suite: Suite, task_id: str) -> pb.Task:
    request = pb.WatchTaskRequest(task_id=task_id)
    async with asyncio.timeout(5):
        async for _ in suite.stub.WatchTask(request, timeout=5):
            pass
    return await suite.stub.GetTask(pb.GetTaskRequest(task_id=task_id), timeout=5)


async def test_a_caller_that_goes_away_cancels_its_task(suite: Suite) -> None:
    call = suite.stub.StreamInvoke(pb.InvokeRequest(query="sleep:60000\nnever"), timeout=10)
    start = await call.read()

    call.cancel()

    assert (await ended(suite, start.task_id)).status == "canceled"


async def test_a_task_may_outlive_its_caller(suite: Suite) -> None:
    request = pb.InvokeRequest(query="sleep:200\nstill here", on_disconnect="continue")
    call = suite.stub.StreamInvoke(request, timeout=10)
    start = await call.read()

    call.cancel()

    task = await ended(suite, start.task_id)
    assert (task.status, task.result) == ("completed", "still here")


async def test_timeout_ms_bounds_a_task(suite: Suite) -> None:
    events = await suite.events("sleep:60000\nnever", timeout_ms=100)

    assert (events[-1].status, events[-1].error.error_code) == ("failed", "TASK_TIMEOUT")


async def test_a_duration_of_its_own_bounds_a_task_whose_caller_waits_longer(suite: Suite) -> None:
    limits = pb.TaskLimits(duration_ms=100)
    call = suite.stub.Invoke(pb.InvokeRequest(query="sleep:60000\nnever", limits=limits), timeout=5)

    code, info = await refused(call)

    assert (code, info.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "TASK_TIMEOUT")
    assert (await ended(suite, info.metadata["task_id"])).status == "failed"


async def test_the_last_step_may_only_answer(suite: Suite) -> None:
    query = "\n\n".join('tool:calculator {"expression": "1+1"}' for _ in range(9)) + "\nfin"

    events = await suite.events(query, limits=pb.TaskLimits(steps=2))

    assert types(events).count("tool_call") == 1
    assert [w.code for w in events[-1].warnings] == ["STEP_LIMIT_REACHED"]
    assert events[-1].status == "completed"


async def test_a_token_limit_ends_the_task(suite: Suite) -> None:
    whole = (await suite.events(CALCULATE))[-1].metrics.tokens_used

    # Both turns take about the same: there is enough for the first.
    events = await suite.events(CALCULATE, limits=pb.TaskLimits(tokens=whole // 2))

    assert types(events).count("tool_result") == 1
    assert not {"final_answer", "step_abandoned"} & set(types(events))
    assert (events[-1].status, events[-1].error.error_code) == ("failed", "TOKEN_LIMIT_REACHED")
    assert events[-1].metrics.tokens_used <= whole // 2


@pytest.mark.parametrize("directive", ["cut", "garbage"])
async def test_a_cut_or_malformed_step_is_tried_once_more_and_never_answers(
    suite: Suite, directive: str
) -> None:
    events = await suite.events(f"{directive}\nsome words of an answer")

    assert types(events).count("step_abandoned") == 2
    assert "final_answer" not in types(events)
    assert events[-1].error.error_code == "MODEL_OUTPUT_INVALID"


async def test_a_model_that_fails_is_asked_three_times(suite: Suite) -> None:
    events = await suite.events("fail")

    abandoned = [event for event in events if event.type == "step_abandoned"]
    assert [event.attempt for event in abandoned] == [1, 2, 3]
    assert (events[-1].error.grpc_status, events[-1].error.error_code) == (
        "UNAVAILABLE",
        "ENGINE_FAILED",
    )


async def test_an_answer_bound_by_a_schema_is_also_json(suite: Suite) -> None:
    schema = schema_of(
        {
            "type": "object",
            "properties": {"city": {"type": "string"}, "people": {"type": "integer"}},
            "required": ["city", "people"],
        }
    )
    query = '{"city": "Bern", "people": 134000}'

    response = await suite.stub.Invoke(
        pb.InvokeRequest(query=query, response_schema=schema), timeout=5
    )

    assert MessageToDict(response.output) == {"city": "Bern", "people": 134000.0}


async def test_without_tools_the_text_streams_as_it_is(suite: Suite) -> None:
    events = await suite.events("plain words", tool_choice="none")

    assert "agent_thought" not in types(events)
    assert events[-2].answer == "plain words"


async def test_a_conversation_may_come_as_messages(suite: Suite) -> None:
    messages = [Message(role="assistant", content="Yes?"), Message(role="user", content="Hi again")]

    response = await suite.stub.Invoke(pb.InvokeRequest(messages=messages), timeout=5)

    assert response.result == "Hi again"


REFUSED = [
    (pb.InvokeRequest(query=""), "INVALID_REQUEST", "query"),
    (pb.InvokeRequest(query="x" * 70_000), "INVALID_REQUEST", "query"),
    (pb.InvokeRequest(query="x", model="gpt-9"), "MODEL_NOT_FOUND", "model"),
    (pb.InvokeRequest(query="x", tools=["teleport"]), "TOOL_NOT_FOUND", "tools[0]"),
    (
        pb.InvokeRequest(query="x", limits=pb.TaskLimits(steps=-1)),
        "INVALID_REQUEST",
        "limits.steps",
    ),
    (
        pb.InvokeRequest(query="x", sampling=Sampling(temperature=float("nan"))),
        "INVALID_REQUEST",
        "sampling.temperature",
    ),
    (
        pb.InvokeRequest(query="x", response_schema=schema_of({"type": "nonsense"})),
        "SCHEMA_INVALID",
        "response_schema",
    ),
]


@pytest.mark.parametrize(("request_", "reason", "field"), REFUSED, ids=lambda each: str(each)[:24])
async def test_a_request_that_cannot_run_is_refused_before_there_is_a_task(
    suite: Suite, request_: pb.InvokeRequest, reason: str, field: str
) -> None:
    _, info = await refused(suite.stub.Invoke(request_, timeout=5))
    _, streamed = await refused(anext(aiter(suite.stub.StreamInvoke(request_, timeout=5))))

    assert (info.reason, info.metadata["field"]) == (reason, field)
    assert streamed.reason == reason
    assert "task_id" not in info.metadata


async def test_a_prompt_over_the_window_is_refused_with_the_limit_and_the_size() -> None:
    async with started(TaskSettings(max_query_bytes=200_000)) as suite:
        request = pb.InvokeRequest(query="y " * 40_000)

        code, info = await refused(suite.stub.Invoke(request, timeout=5))

    assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CONTEXT_WINDOW_EXCEEDED")
    assert int(info.metadata["prompt_tokens"]) > int(info.metadata["limit_tokens"]) > 0
    assert "task_id" not in info.metadata


async def test_beyond_the_bound_tasks_are_refused_with_a_delay() -> None:
    async with started(TaskSettings(max_running=1, max_queued=1)) as suite:
        starts = []
        calls = []  # Kept: a call that is forgotten is cancelled.
        for _ in range(2):
            calls.append(suite.stub.StreamInvoke(pb.InvokeRequest(query="sleep:60000"), timeout=10))
            starts.append(await calls[-1].read())

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await suite.stub.Invoke(pb.InvokeRequest(query="x"), timeout=5)
        queued = pb.CancelTaskRequest(task_id=starts[1].task_id)
        canceled = await suite.stub.CancelTask(queued, timeout=5)

        assert [start.status for start in starts] == ["running", "pending"]
        assert error_info(caught.value).reason == "TOO_MANY_TASKS"
        status = rpc_status.from_call(caught.value)
        assert status is not None
        assert any(each.Is(RetryInfo.DESCRIPTOR) for each in status.details)
        assert canceled.status == "canceled"


async def test_an_engine_without_room_says_when_to_come_back() -> None:
    async with started(echo=EchoSettings(slots=1, queue=0)) as suite:
        busy = suite.stub.StreamInvoke(pb.InvokeRequest(query="sleep:60000"), timeout=10)
        await busy.read()

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await suite.stub.Invoke(pb.InvokeRequest(query="x"), timeout=10)

    status = rpc_status.from_call(caught.value)
    assert status is not None
    assert error_info(caught.value).reason == "ENGINE_OVERLOADED"
    assert any(each.Is(RetryInfo.DESCRIPTOR) for each in status.details)


async def test_a_queued_task_runs_when_there_is_room() -> None:
    async with started(TaskSettings(max_running=1, max_queued=4)) as suite:
        asked = [suite.events(f"sleep:50\n{n}") for n in range(4)]

        ended_tasks = await asyncio.gather(*asked)

        assert [events[-1].status for events in ended_tasks] == ["completed"] * 4
        assert sorted(events[0].status for events in ended_tasks) == ["pending"] * 3 + ["running"]
        assert sum("status_changed" in types(events) for events in ended_tasks) == 3


async def test_every_fault_of_a_request_is_a_field_violation(suite: Suite) -> None:
    request = pb.InvokeRequest(query="", limits=pb.TaskLimits(steps=0))

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await suite.stub.Invoke(request, timeout=5)

    status = rpc_status.from_call(caught.value)
    assert status is not None
    bad = BadRequest()
    next(each for each in status.details if each.Is(BadRequest.DESCRIPTOR)).Unpack(bad)
    assert [each.field for each in bad.field_violations] == ["query", "limits.steps"]


async def test_a_model_service_that_is_away_is_said_to_be() -> None:
    async with started(inference_target="127.0.0.1:1") as suite:
        code, info = await refused(suite.stub.Invoke(pb.InvokeRequest(query="x"), timeout=5))

    assert (code, info.reason) == (grpc.StatusCode.UNAVAILABLE, "PEER_UNAVAILABLE")


async def test_closing_the_stream_frees_the_engines_slot(suite: Suite) -> None:
    models = await suite.inference.ListModels(inference_pb2.ListModelsRequest(), timeout=5)
    slots = models.models[0].slots
    calls = [
        suite.stub.StreamInvoke(pb.InvokeRequest(query="sleep:60000"), timeout=30)
        for _ in range(slots)
    ]
    for call in calls:
        await call.read()
        call.cancel()

    response = await suite.stub.Invoke(pb.InvokeRequest(query="free again"), timeout=10)

    assert response.result == "free again"


async def test_a_task_that_has_ended_looks_the_same_however_often_it_is_asked_for(
    suite: Suite,
) -> None:
    response = await suite.stub.Invoke(pb.InvokeRequest(query=CALCULATE), timeout=5)
    request = pb.GetTaskRequest(task_id=response.task_id)

    first, again = [await suite.stub.GetTask(request, timeout=5) for _ in range(2)]

    assert first == again
    assert (first.status, first.result) == ("completed", "12*7 is 84.")
    for tenant in ("other", "default/x"):
        metadata = (("runplane-tenant", tenant),)
        code, info = await refused(suite.stub.GetTask(request, metadata=metadata, timeout=5))
        assert (code, info.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")
