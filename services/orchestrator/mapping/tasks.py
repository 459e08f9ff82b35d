"""Protobuf to domain and back. Pure."""

import json
from datetime import UTC, timedelta
from typing import Final

from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.type.v1 import content_pb2

from services.chassis import structs
from services.chassis.filtering import Fields, written
from services.chassis.fingerprint import fingerprint
from services.orchestrator.domain import caching
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.large import Large
from services.orchestrator.domain.request import (
    MAX_CLIENT_TOOLS,
    MAX_MESSAGES,
    MAX_TOOLS,
    Request,
    split,
)
from services.orchestrator.domain.task import Call, State, Task
from services.orchestrator.mapping import large, routing, sessions, toolcalls
from services.orchestrator.mapping.sampling import read_sampling

DEFAULT_STEPS: Final = 8
CHUNK_CHARACTERS: Final = 2000
MAX_CHUNKS: Final = 200
# Of an input or output that is repeated whole: all chunks together have to fit into one message.
CHUNK_BYTES: Final = 8 * 1024

FILTERED: Final = Fields(
    {
        "status",
        "session_id",
        "agent_id",
        "parent_task_id",
        "owner",
        "model",
        "create_time",
        "update_time",
    },
    ("labels.",),
    {"status": written("TASK_STATE_", [each.value for each in State])},
)
STATES: Final = {
    State.PENDING: pb.TASK_STATE_PENDING,
    State.RUNNING: pb.TASK_STATE_RUNNING,
    State.WAITING: pb.TASK_STATE_WAITING,
    State.COMPLETED: pb.TASK_STATE_COMPLETED,
    State.FAILED: pb.TASK_STATE_FAILED,
    State.CANCELED: pb.TASK_STATE_CANCELED,
}


def request(
    message: pb.InvokeRequest, key: str = "", *, cache: str = "", is_new: bool = True
) -> Request:
    """What a caller asks for; beside the message came `key`, an idempotency key, and `cache`, what
    is said of cached answers. One that was accepted before needs no fingerprint.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; the schema holds what JSON does not.
    """
    message.DiscardUnknownFields()  # Nobody reads them, and they would be kept in the log.
    key = message.idempotency_key or key
    mark = fingerprint(message) if key and is_new else ""
    if cache and not message.cache and not message.HasField("call"):
        message.cache = caching.of_header(cache)
    sampling, limits = message.sampling, message.limits
    return Request(
        query=message.query,
        messages=[
            ev.Message(each.role, each.content) for each in message.messages[: MAX_MESSAGES + 1]
        ],
        model=message.model,
        tools=list(message.tools[: MAX_TOOLS + 1]),
        tool_choice=message.tool_choice,
        response_schema=_schema(message),
        sampling=read_sampling(sampling),
        timeout_ms=message.timeout_ms if message.HasField("timeout_ms") else None,
        steps=limits.steps if limits.HasField("steps") else None,
        tokens=limits.tokens if limits.HasField("tokens") else None,
        cost_usd=limits.cost_usd if limits.HasField("cost_usd") else None,
        duration_ms=limits.duration_ms if limits.HasField("duration_ms") else None,
        on_disconnect=message.on_disconnect,
        on_deadline=message.on_deadline,
        client_tools=[
            _client_tool(index, each)
            for index, each in enumerate(message.client_tools[: MAX_CLIENT_TOOLS + 1])
        ],
        approval_tools=list(message.approval_tools[: MAX_TOOLS + 1]),
        labels=dict(message.labels),
        idempotency_key=key,
        fingerprint=mark,
        source=message.SerializeToString(),
        agent_id=message.agent_id,
        session_id=message.session_id,
        on_busy=message.on_busy,
        call=toolcalls.call_spec(message),
        cache=message.cache,
        request_class=message.request_class,
    )


def _schema(message: pb.InvokeRequest) -> dict[str, object] | None:
    if not message.HasField("response_schema"):
        return None
    return structs.to_dict(message.response_schema, field="response_schema")


def _client_tool(index: int, message: pb.ClientTool) -> ev.ClientTool:
    schema = structs.to_dict(message.input_schema, field=f"client_tools[{index}].input_schema")
    return ev.ClientTool(message.name, message.description, schema or {"type": "object"})


def spec(start: pb.TaskEvent, tenant: str) -> ev.Spec:
    """What a task is to do, from the first event of its log."""
    asked = request(start.request, is_new=False)
    query, history = split(asked)
    return ev.Spec(
        task_id=start.task_id,
        tenant=tenant,
        owner=start.owner,
        session_id=start.session_id,
        trace_id=start.metadata.trace_id,
        query=query,
        history=tuple(history),
        model=start.metadata.model,
        model_version=start.metadata.model_version,
        tools=tuple(asked.tools),
        has_tools=asked.tool_choice != "none",
        response_schema=asked.response_schema,
        sampling=asked.sampling,
        limits=ev.Limits(asked.steps or DEFAULT_STEPS, asked.tokens, asked.cost_usd),
        survives_disconnect=asked.on_disconnect == "continue",
        pauses_at_deadline=asked.on_deadline == "pause",
        client_tools=tuple(asked.client_tools),
        approval_tools=tuple(asked.approval_tools),
        labels=asked.labels,
        deadline=start.deadline.ToDatetime(UTC),
        request=start.request.SerializeToString(),
        agent_id=start.agent_id,
        agent_version=start.agent_version,
        parent_task_id=start.parent_task_id,
        depth=start.depth,
        large=tuple(
            (each.field, large.large(each.reference, excerpt=""))
            for each in start.request_references
        ),
        place=sessions.place(start),
        on_busy=asked.on_busy,
        pinned=toolcalls.tools(start),
        call=asked.call,
        cache=asked.cache,
        routed=routing.read(start.metadata),
    )


def task(found: Task) -> pb.Task:
    """The resource."""
    message = listed(found)
    toolcalls.set_pending(message, found)
    return message


def listed(found: Task) -> pb.Task:
    """The resource as lists have it."""
    message = pb.Task(
        task_id=found.spec.task_id,
        status=found.state.value,
        state=STATES[found.state],
        query=found.spec.query,
        session_id=found.spec.session_id,
        agent_id=found.spec.agent_id,
        agent_version=found.spec.agent_version,
        parent_task_id=found.spec.parent_task_id,
        owner=found.spec.owner,
        result=found.text,
        last_sequence=found.sequence,
        metrics=metrics(found),
        metadata=metadata(found),
        warnings=warnings(found),
        labels=found.spec.labels,
    )
    toolcalls.set_call(message, found.spec)
    _output(found, message)
    if found.failure is not None:
        message.error.CopyFrom(error(found.failure))
    structs.set_time(message.create_time, found.create_time)
    structs.set_time(message.update_time, found.update_time)
    structs.set_time(message.deadline, found.deadline)
    return message


def response(found: Task) -> pb.InvokeResponse:
    """What came of a query."""
    message = pb.InvokeResponse(
        task_id=found.spec.task_id,
        status=found.state.value,
        result=found.text,
        metrics=metrics(found),
        metadata=metadata(found),
        warnings=warnings(found),
    )
    _output(found, message)
    return message


def _output(found: Task, message: pb.Task | pb.InvokeResponse) -> None:
    """The answer as JSON if it is that, or where it is."""
    if isinstance(found.output, Large):
        message.result_reference.CopyFrom(large.reference(found.output))
    elif found.output is not None:
        structs.from_value(found.output, message.output)


def partial(found: Task, mark: str, retry_after: timedelta) -> pb.InvokeResponse:
    """What there is so far of a task that goes on."""
    return pb.InvokeResponse(
        task_id=found.spec.task_id,
        status="partial",
        partial_result=found.text,
        continue_mark=mark,
        retry_after=retry_after.total_seconds() * 1000,
        metrics=metrics(found),
        metadata=metadata(found),
        warnings=warnings(found),
    )


def metrics(found: Task) -> pb.TaskMetrics:
    """What a task took so far."""
    total = (found.update_time - found.create_time).total_seconds() * 1000
    return pb.TaskMetrics(
        total_duration_ms=round(total, 3),
        thought_duration_ms=round(found.thought_ms, 3),
        tool_duration_ms=round(found.tool_ms, 3),
        tokens_used=found.tokens,
        time_to_first_token_ms=(
            None if found.time_to_first_token_ms is None else round(found.time_to_first_token_ms, 3)
        ),
        cost_usd=round(found.cost_usd, 9),
        tokens_saved=found.saved_tokens or None,
    )


def metadata(found: Task) -> pb.TaskMetadata:
    """What runs a task."""
    return pb.TaskMetadata(
        model=found.model,
        model_version=found.model_version,
        session_id=found.spec.session_id,
        cached=found.is_cached,
        trace_id=found.spec.trace_id,
        routing=routing.message(found.spec.routed),
    )


def warnings(found: Task) -> list[content_pb2.Warning]:
    """What was degraded, defaulted or cut."""
    said = [content_pb2.Warning(code=each.code, message=each.message) for each in found.warnings]
    if isinstance(found.output, Large):
        said.append(large.cut(found.output, found.spec.task_id))
    return said


def error(failure: ev.Failure) -> pb.TaskError:
    """Why something failed."""
    return pb.TaskError(
        grpc_status=failure.code,
        error_code=failure.reason,
        message=failure.message,
        suggested_fix=failure.suggested_fix,
        retry_after_ms=failure.retry_after_ms,
        domain=failure.domain,
    )


def chunks(found: Task) -> list[pb.Chunk]:
    """What a task did, in short."""
    made: list[pb.Chunk] = []
    for step in found.steps:
        if step.thought:
            made.append(pb.Chunk(type="thought", content=step.thought[:CHUNK_CHARACTERS]))
        for call in step.calls:
            made += _call_chunks(call)
    if found.text:
        made.append(_chunk("result", found.output, content=found.text[:CHUNK_CHARACTERS]))
    return made[-MAX_CHUNKS:]


def _call_chunks(call: Call) -> list[pb.Chunk]:
    called = pb.Chunk(type="tool_call", tool=call.tool)
    structs.from_dict(call.input, called.input)
    if called.input.ByteSize() > CHUNK_BYTES:
        called.ClearField("input")
        called.content = _beginning(call.input)
    if call.latency_ms is None:
        return [called]
    if call.failure is not None:
        failed = {"error": call.failure.reason, "message": call.failure.message}
        return [called, _chunk("result", failed)]
    return [called, _chunk("result", call.output)]


def _chunk(kind: str, output: object, content: str | None = None) -> pb.Chunk:
    chunk = pb.Chunk(type=kind, content=content)
    if isinstance(output, Large):
        chunk.content = content or output.excerpt[:CHUNK_CHARACTERS]
        chunk.reference.CopyFrom(large.reference(output))
        return chunk
    if output is None:
        return chunk
    structs.from_value(output, chunk.output)
    if chunk.output.ByteSize() > CHUNK_BYTES:
        chunk.ClearField("output")
        chunk.content = content or _beginning(output)
    return chunk


def _beginning(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)[:CHUNK_CHARACTERS]
