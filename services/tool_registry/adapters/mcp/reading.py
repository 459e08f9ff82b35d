"""What is asked of a server beside calls of its tools."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.struct_pb2 import Struct
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    GetPromptRequest,
    GetPromptRequestParams,
    GetPromptResult,
    InputRequiredResult,
    PromptReference,
    ReadResourceRequest,
    ReadResourceRequestParams,
    ReadResourceResult,
    ResourceTemplateReference,
)
from pydantic import BaseModel, TypeAdapter, ValidationError

from services.chassis import structs
from services.chassis.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServiceError,
    Violation,
    invalid,
)
from services.tool_registry.adapters.mcp.bounds import TEXT, cut
from services.tool_registry.adapters.mcp.calls import trace
from services.tool_registry.adapters.mcp.dispatch import AnswerTooLarge, offered
from services.tool_registry.adapters.mcp.faults import is_lost, problem
from services.tool_registry.adapters.mcp.session import Session
from services.tool_registry.domain.asking import NOT_OFFERED, check, not_offered
from services.tool_registry.domain.server import Asking, Reply, Suggestions, unavailable
from services.tool_registry.domain.tool import ToolFailure

MAX_BYTES: Final = 2 * 1024 * 1024
"""Of what is read: a message has at most 4 MiB, and as JSON it is shorter."""
_MAX_VALUES: Final = 100
_NO_RESOURCE: Final = -32002
"""What servers before 2026-07-28 say of a resource that is not there."""
_READ: Final[TypeAdapter[ReadResourceResult | InputRequiredResult]] = TypeAdapter(
    ReadResourceResult | InputRequiredResult
)
_PROMPT: Final[TypeAdapter[GetPromptResult | InputRequiredResult]] = TypeAdapter(
    GetPromptResult | InputRequiredResult
)


async def read(session: Session, namespace: str, uri: str, asking: Asking) -> Reply:
    """Ask for a resource. Raises MCPError when the connection broke, and see `Links`."""
    params = _with({"uri": uri}, session, asking)
    request = ReadResourceRequest(params=_valid(ReadResourceRequestParams, params))
    try:
        return await _asked(session, namespace, request, _READ, asking)
    except MCPError as error:
        if error.code in {INVALID_PARAMS, _NO_RESOURCE}:
            raise NotFound(
                "RESOURCE_NOT_FOUND",
                f"{namespace} has no {uri[:256]}: {cut(error.message, TEXT)}",
                uri=uri[:256],
                field="uri",
                suggested_fix="list the resources",
            ) from None
        raise _refused(error, namespace, uri[:256]) from None


async def prompt(
    session: Session, namespace: str, name: str, arguments: Mapping[str, str], asking: Asking
) -> Reply:
    """Ask for a prompt. Raises as `read`."""
    params = _with({"name": name, "arguments": dict(arguments)}, session, asking)
    request = GetPromptRequest(params=_valid(GetPromptRequestParams, params))
    try:
        return await _asked(session, namespace, request, _PROMPT, asking)
    except MCPError as error:
        if error.code == INVALID_PARAMS:
            raise InvalidArgument(
                "PROMPT_ARGUMENTS_INVALID",
                f"{namespace} refuses the arguments of {name}: {cut(error.message, TEXT)}",
                prompt=name,
                field="arguments",
                suggested_fix="see the prompt's arguments",
            ) from None
        raise _refused(error, namespace, name) from None


async def complete(
    session: Session,
    namespace: str,
    reference: Mapping[str, str],
    argument: tuple[str, str],
    context: Mapping[str, str],
) -> Suggestions:
    """Ask for values; a server that knows none has none. Raises as `read`."""
    asked: PromptReference | ResourceTemplateReference
    if reference["type"] == "ref/prompt":
        asked = PromptReference(name=reference["name"])
    else:
        asked = ResourceTemplateReference(uri=reference["uri"])
    name, value = argument
    try:
        result = await session.client.complete(
            asked, {"name": name, "value": value}, dict(context) or None
        )
    except MCPError as error:
        if error.code in {METHOD_NOT_FOUND, INVALID_PARAMS}:
            return Suggestions(())
        raise _refused(error, namespace, name) from None
    except ValidationError as error:
        raise _broken(namespace, problem(error)) from None
    found = result.completion
    values = tuple(cut(each, TEXT) for each in found.values[:_MAX_VALUES])
    has_more = bool(found.has_more) or len(found.values) > _MAX_VALUES
    total = found.total if found.total is not None and 0 <= found.total < 2**31 else None
    return Suggestions(values, total, has_more)


async def _asked(
    session: Session, namespace: str, request: Any, shape: TypeAdapter[Any], asking: Asking
) -> Reply:
    token = offered.set(asking.capabilities or {})
    try:
        result = await session.client.send_request(request, shape)
    except ValidationError as error:
        raise _broken(namespace, problem(error)) from None
    finally:
        offered.reset(token)
    said = await asyncio.to_thread(_portable, namespace, result)  # It may be large.
    if isinstance(result, InputRequiredResult):
        questions, state = said.get("inputRequests", {}), result.request_state or ""
        try:
            check(questions, state, asking.capabilities, namespace)
        except ToolFailure as failure:
            raise _refusal(failure, namespace) from None
        return Reply(questions=questions, state=state)
    return Reply(said)


def _with(params: dict[str, Any], session: Session, asking: Asking) -> dict[str, Any]:
    if session.is_modern and (asking.responses or asking.state):
        params["inputResponses"] = dict(asking.responses)
        params["requestState"] = asking.state or None
    return {**params, "_meta": trace()}


def _valid(kind: Any, params: dict[str, Any]) -> Any:
    try:
        return kind.model_validate(params, by_name=False)
    except ValidationError:
        fix = "send what MCP answers to such a request, by the names of input_requests"
        raise invalid(Violation("input_responses", "are not answers", fix)) from None


def _portable(namespace: str, result: BaseModel) -> dict[str, Any]:
    """A result as it can be sent on."""
    said: dict[str, Any] = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    packed = Struct()
    try:
        structs.from_dict(said, packed)
    except InvalidArgument as error:
        raise _broken(namespace, f"it answers what is not JSON: {error.message}") from None
    if packed.ByteSize() > MAX_BYTES:
        raise _too_large(namespace)
    return said


def _refused(error: MCPError, namespace: str, what: str) -> Exception:
    """What becomes of an error that says nothing of its own about a request."""
    if isinstance(error, AnswerTooLarge):
        return _too_large(namespace)
    if is_lost(error):
        return error
    if error.code == MISSING_REQUIRED_CLIENT_CAPABILITY:
        return _refusal(not_offered(namespace), namespace)
    return _broken(namespace, f"of {what}: {problem(error)}")


def _broken(namespace: str, said: str) -> ServiceError:
    return unavailable(namespace, said, reason="MCP_SERVER_UNAVAILABLE")


def _refusal(failure: ToolFailure, namespace: str) -> ServiceError:
    """What it is to whoever calls no tool."""
    if failure.reason != NOT_OFFERED:
        return _broken(namespace, failure.message)
    return FailedPrecondition(
        failure.reason,
        failure.message,
        namespace=namespace,
        field="capabilities",
        suggested_fix=failure.suggested_fix,
    )


def _too_large(namespace: str) -> ResourceExhausted:
    return ResourceExhausted(
        "RESOURCE_TOO_LARGE",
        f"{namespace} answers more than {MAX_BYTES:,} bytes",
        namespace=namespace,
        limit_bytes=str(MAX_BYTES),
        suggested_fix="ask for less",
    )
