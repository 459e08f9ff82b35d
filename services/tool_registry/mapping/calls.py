"""Calls as protobuf, and back; pure."""

from datetime import timedelta
from typing import Final

from runplane.tool_registry.v1 import tool_registry_pb2 as pb

from services.chassis import structs
from services.chassis.context import RequestContext
from services.chassis.telling import Logged, Progress
from services.tool_registry.domain.call import Call, Outcome, checked_id, checked_key, timeout_of
from services.tool_registry.domain.circuit import State
from services.tool_registry.domain.tool import ToolFailure
from services.tool_registry.mapping.asking import asking

PROTOCOL_VERSION: Final = "1.0"
CIRCUITS: Final[dict[State, "pb.CircuitState.ValueType"]] = {
    State.CLOSED: pb.CIRCUIT_STATE_CLOSED,
    State.OPEN: pb.CIRCUIT_STATE_OPEN,
    State.HALF_OPEN: pb.CIRCUIT_STATE_HALF_OPEN,
}
_MILLISECOND: Final = timedelta(milliseconds=1)


def call(
    request: pb.CallToolRequest, *, tenant: str, time_left: float | None, key: str = ""
) -> Call:
    """What is asked. `time_left` is in seconds, and `key` an idempotency key that came beside it.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; a part of it is not within bounds.
    """
    key = request.idempotency_key or key
    along = asking(request)
    return Call(
        tenant=tenant,
        name=request.name,
        input=structs.to_dict(request.input, field="input"),
        id=checked_id(request.tool_call_id) if request.tool_call_id else "",
        timeout=timeout_of(request.timeout_ms) if request.HasField("timeout_ms") else None,
        time_left=None if time_left is None else timedelta(seconds=time_left),
        version=request.version,
        idempotency_key=checked_key(key) if key else "",
        responses=along.responses,
        state=along.state,
        capabilities=along.capabilities,
    )


def response(outcome: Outcome, context: RequestContext) -> pb.CallToolResponse:
    """What came of a call."""
    packed = pb.CallToolResponse(
        protocol_version=PROTOCOL_VERSION,
        tool_call_id=outcome.id,
        tool_name=outcome.definition.name,
        tool_version=outcome.definition.version,
        observability=pb.Observability(
            trace_id=context.trace_id,
            span_id=context.span_id,
            latency_ms=outcome.latency / _MILLISECOND,
        ),
    )
    for each in outcome.warnings:
        packed.warnings.add(code=each.code, message=each.message)
    if outcome.failure:
        packed.status = "error"
        packed.error.CopyFrom(_error(outcome.failure))
    elif outcome.requests is not None:
        packed.status, packed.request_state = "input_required", outcome.state
        structs.from_dict(outcome.requests, packed.input_requests, field="input_requests")
    else:
        packed.status = "success"
        structs.from_value(outcome.result, packed.result, field="result")
        for block in outcome.content:
            structs.from_dict(block, packed.content.add(), field="content")
    return packed


def event(told: Progress | Logged | Outcome, context: RequestContext) -> pb.ToolCallEvent:
    """What happened while a tool ran."""
    if isinstance(told, Outcome):
        return pb.ToolCallEvent(type="response", response=response(told, context))
    if isinstance(told, Logged):
        log = pb.ToolLog(level=told.level, message=told.message)
        return pb.ToolCallEvent(type="log", log=log)
    progress = pb.ToolProgress(progress=told.done, total=told.total, message=told.message)
    return pb.ToolCallEvent(type="progress", progress=progress)


def _error(failure: ToolFailure) -> pb.ToolError:
    return pb.ToolError(
        reason=failure.reason,
        message=failure.message,
        suggested_fix=failure.suggested_fix,
        is_uncertain=failure.is_uncertain,
    )
