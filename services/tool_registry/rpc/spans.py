"""Spans of tool calls: the RPC's own becomes `execute_tool`. It has what the tool is given only if
somebody asks for it."""

import json

from runplane.tool_registry.v1 import tool_registry_pb2 as pb

from services.chassis import structs
from services.chassis.tracing import names
from services.chassis.tracing.spans import NOTHING, Nothing, Span, has_content, serving
from services.tool_registry.domain.call import Outcome


def executing(request: pb.CallToolRequest) -> Span | Nothing:
    """Of a call that begins."""
    execution = serving()
    if isinstance(execution, Nothing):
        return NOTHING
    tool = request.name[:64]
    execution.name = f"execute_tool {tool}"
    execution.set(names.OPERATION, "execute_tool")
    execution.set(names.TOOL, tool)
    execution.set(names.TOOL_CALL, request.tool_call_id[:128])
    if has_content():
        execution.set(names.TOOL_INPUT, json.dumps(structs.to_dict(request.input)))
    return execution


def executed(execution: Span | Nothing, outcome: Outcome) -> None:
    """What came of it."""
    if outcome.failure is not None:
        execution.fail(outcome.failure.reason)
    elif outcome.requests is not None:
        execution.event("input_asked")
    if has_content():
        execution.set(names.TOOL_RESULT, json.dumps(outcome.result, default=str))
