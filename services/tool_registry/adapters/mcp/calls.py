"""Calls of a server's tools."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.exceptions import MCPError
from mcp_types import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    LOG_LEVEL_META_KEY,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    InputRequiredResult,
    PaginatedRequestParams,
)
from pydantic import TypeAdapter, ValidationError

from services.chassis.context import STATE_KEY, TRACE_KEY, current
from services.chassis.errors import Violation, invalid
from services.chassis.telling import Progress, unheard
from services.tool_registry.adapters.mcp.answers import answer, requests
from services.tool_registry.adapters.mcp.bounds import MAX_PAGES, TEXT, cut
from services.tool_registry.adapters.mcp.dispatch import AnswerTooLarge, offered
from services.tool_registry.adapters.mcp.faults import is_lost
from services.tool_registry.adapters.mcp.session import LEVEL, Session, hearing
from services.tool_registry.domain.asking import not_offered
from services.tool_registry.domain.refusals import too_large
from services.tool_registry.domain.size import is_large
from services.tool_registry.domain.targets import Mcp
from services.tool_registry.domain.tool import Definition, ToolFailure
from services.tool_registry.ports import Answer, Invocation

IDEMPOTENCY_KEY: Final = "dev.runplane/idempotency-key"
_RESULT: Final[TypeAdapter[CallToolResult | InputRequiredResult]] = TypeAdapter(
    CallToolResult | InputRequiredResult
)
_ENDS: Final = {"complete", "input_required"}
_MARGIN_SECONDS: Final = 5.0  # Whoever called gives up first.


async def call(
    session: Session, target: Mcp, definition: Definition, invocation: Invocation
) -> Answer:
    """Call a tool once. Cancelling reaches the server.

    Raises:
        ToolFailure: the tool's answer, or the server's fault.
        MCPError: the connection broke.
    """
    request = CallToolRequest(params=_params(session, target, invocation))
    try:
        with _along(session, invocation):
            result = await _sent(session, request, invocation)
    except MCPError as error:
        if is_lost(error) and not isinstance(error, AnswerTooLarge):
            raise
        raise _failure(error, definition.name) from None
    except ValidationError:
        message = f"{definition.name} answered what is no result of a tool"
        raise ToolFailure("MCP_ANSWER_INVALID", message, is_targets=True) from None
    if result.result_type not in _ENDS:
        message = f"{definition.name} answered with a {cut(result.result_type, 32)}, not a result"
        raise ToolFailure("MCP_ANSWER_INVALID", message, is_targets=True)
    if isinstance(result, CallToolResult):
        has_output = bool(definition.output_schema.document)
        read = partial(answer, result, name=definition.name, has_output=has_output)
        return await asyncio.to_thread(read) if _is_large(result) else read()
    return Answer(None, requests=requests(result))


def _is_large(result: CallToolResult) -> bool:
    """Texts and data are what makes content large."""
    said = (getattr(each, "text", getattr(each, "data", "")) for each in result.content)
    return is_large(result.structured_content, *said)


async def _sent(
    session: Session, request: CallToolRequest, invocation: Invocation
) -> CallToolResult | InputRequiredResult:
    """Send a call; once more if the server finds that the headers do not fit the tool any more."""
    for is_last in (False, True):
        try:
            return await session.client.send_request(
                request,
                _RESULT,
                request_read_timeout_seconds=invocation.timeout.total_seconds() + _MARGIN_SECONDS,
                progress_callback=_progress(session, invocation),
            )
        except MCPError as error:
            if error.code != HEADER_MISMATCH or is_last or not session.is_modern:
                raise
            await _relist(session, request.params.name)
    raise AssertionError


async def _relist(session: Session, name: str) -> None:
    """Let the SDK see the tool as it is now: headers are made of its schema."""
    cursor = None
    for _ in range(MAX_PAGES):
        page = await session.client.list_tools(params=PaginatedRequestParams(cursor=cursor))
        cursor = page.next_cursor
        if cursor is None or any(tool.name == name for tool in page.tools):
            return


def trace() -> dict[str, str]:
    """What `_meta` says of the trace: the span is the one that the caller is told."""
    if (here := current.get(None)) is None:
        return {}
    state = {STATE_KEY: here.tracestate} if here.tracestate else {}
    return {TRACE_KEY: here.traceparent, **state}


def _params(session: Session, target: Mcp, invocation: Invocation) -> CallToolRequestParams:
    meta: dict[str, Any] = {**trace()}
    if invocation.idempotency_key:
        meta[IDEMPOTENCY_KEY] = invocation.idempotency_key
    if session.is_modern and invocation.report is not unheard:
        meta[LOG_LEVEL_META_KEY] = LEVEL
    said: dict[str, Any] = {
        "name": target.tool,
        "arguments": dict(invocation.arguments),
        "_meta": meta,
    }
    if session.is_modern and (invocation.responses or invocation.state):
        said["inputResponses"] = dict(invocation.responses)
        said["requestState"] = invocation.state or None
    try:
        return CallToolRequestParams.model_validate(said, by_name=False)
    except ValidationError:
        fix = "send what MCP answers to such a request, by the names of input_requests"
        raise invalid(Violation("input_responses", "are not answers", fix)) from None


@contextmanager
def _along(session: Session, invocation: Invocation) -> Iterator[None]:
    """Let the server be told what the caller can be asked for, and the caller what it logs."""
    capabilities: Mapping[str, object] = invocation.capabilities or {}
    asked = offered.set(capabilities)
    heard = hearing.set(invocation.report)
    session.ear.running.append(invocation.report)
    try:
        yield
    finally:
        session.ear.running.remove(invocation.report)
        hearing.reset(heard)
        offered.reset(asked)


def _progress(session: Session, invocation: Invocation) -> ProgressFnT | None:
    if invocation.report is unheard:
        return None

    async def heard(progress: float, total: float | None, message: str | None) -> None:
        text = session.dispatch.scrub.beginning(message or "", TEXT)
        invocation.report(Progress(progress, total, text))

    return heard


def _failure(error: MCPError, name: str) -> ToolFailure:
    said = cut(error.message, TEXT)
    if isinstance(error, AnswerTooLarge):
        return too_large(name, f"too much: {said}", is_targets=True)
    if error.code == MISSING_REQUIRED_CLIENT_CAPABILITY:
        return not_offered(name)
    if error.code == INVALID_PARAMS:
        return ToolFailure("MCP_REFUSED", f"{name} refuses the call: {said}")
    message = f"{name} answered with an error: {error.code} {said}"
    return ToolFailure("MCP_ERROR", message, is_targets=True)
