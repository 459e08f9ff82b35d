"""Calls as protobuf, and back; pure."""

from datetime import timedelta
from typing import Final

from runplane.tool_registry.v1 import tool_registry_pb2 as pb

from services.chassis import structs
from services.chassis.context import RequestContext
from services.tool_registry.domain.call import Call, Outcome, timeout_of
from services.tool_registry.domain.tool import ToolFailure

PROTOCOL_VERSION: Final = "1.0"
_MILLISECOND: Final = timedelta(milliseconds=1)


def call(request: pb.CallToolRequest, *, tenant: str, time_left: float | None) -> Call:
    """What is asked. `time_left` is in seconds.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; the input or the timeout is not within bounds.
    """
    return Call(
        tenant=tenant,
        name=request.name,
        input=structs.to_dict(request.input, field="input"),
        id=request.tool_call_id,
        timeout=timeout_of(request.timeout_ms) if request.HasField("timeout_ms") else None,
        time_left=None if time_left is None else timedelta(seconds=time_left),
        version=request.version,
        idempotency_key=request.idempotency_key,
    )


def response(outcome: Outcome, context: RequestContext) -> pb.CallToolResponse:
    """What came of a call."""
    packed = pb.CallToolResponse(
        protocol_version=PROTOCOL_VERSION,
        tool_call_id=outcome.id,
        tool_name=outcome.definition.name,
        tool_version=outcome.definition.version,
        status="error" if outcome.failure else "success",
        observability=pb.Observability(
            trace_id=context.trace_id,
            span_id=context.span_id,
            latency_ms=outcome.latency / _MILLISECOND,
        ),
    )
    if outcome.failure:
        packed.error.CopyFrom(_error(outcome.failure))
    else:
        structs.from_value(outcome.result, packed.result, field="result")
    return packed


def _error(failure: ToolFailure) -> pb.ToolError:
    return pb.ToolError(
        reason=failure.reason, message=failure.message, suggested_fix=failure.suggested_fix
    )
