"""Errors as HTTP shows them: google.rpc.Status to number, headers and JSON; one table."""

import json
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import grpc
from google.protobuf.json_format import MessageToDict
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import DebugInfo, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from gateway.shapes import JSON
from services.chassis.context import RequestContext
from services.chassis.errors import ServiceError
from services.chassis.status import status_of, to_status

log = logging.getLogger(__name__)

OURS: Final = ".runplane.dev"
DOMAIN: Final = f"gateway{OURS}"
RETRY_SECONDS: Final = 1  # What to wait for a service that is away and does not say how long.
CLIENT_CLOSED: Final = 499  # nginx's number for a caller that went away.

HTTP: Final[dict[int, int]] = {
    code_pb2.CANCELLED: CLIENT_CLOSED,
    code_pb2.UNKNOWN: HTTPStatus.INTERNAL_SERVER_ERROR,
    code_pb2.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    code_pb2.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
    code_pb2.NOT_FOUND: HTTPStatus.NOT_FOUND,
    code_pb2.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    code_pb2.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    code_pb2.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    code_pb2.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    code_pb2.ABORTED: HTTPStatus.CONFLICT,
    code_pb2.OUT_OF_RANGE: HTTPStatus.BAD_REQUEST,
    code_pb2.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    code_pb2.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
    code_pb2.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    code_pb2.DATA_LOSS: HTTPStatus.INTERNAL_SERVER_ERROR,
    code_pb2.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
}
# The edge's own refusals that HTTP has a number for.
OWN: Final[dict[str, int]] = {
    "METHOD_NOT_ALLOWED": HTTPStatus.METHOD_NOT_ALLOWED,
    "UPGRADE_REQUIRED": HTTPStatus.UPGRADE_REQUIRED,
    "NOT_ACCEPTABLE": HTTPStatus.NOT_ACCEPTABLE,
    "BODY_TIMEOUT": HTTPStatus.REQUEST_TIMEOUT,
    "BODY_TOO_LARGE": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "MEDIA_TYPE_UNSUPPORTED": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "HEAD_TOO_LARGE": HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
}
# What HTTP wants as headers beside some of them.
_HEADERS: Final = {
    "UPGRADE_REQUIRED": [
        (b"upgrade", b"websocket"),
        (b"connection", b"upgrade"),
        (b"sec-websocket-version", b"13"),
    ]
}
# What of a failure that a service of ours does not explain a caller may see: that it failed.
_HIDDEN: Final = {code_pb2.UNKNOWN, code_pb2.INTERNAL, code_pb2.DATA_LOSS}
# What a Status without ErrorInfo means. grpc's own texts name addresses, so they stay here.
_BARE: Final = {
    code_pb2.UNAVAILABLE: ("SERVICE_UNAVAILABLE", "{service} cannot be reached"),
    code_pb2.DEADLINE_EXCEEDED: ("DEADLINE_EXCEEDED", "{service} did not answer in time"),
    code_pb2.RESOURCE_EXHAUSTED: ("SERVICE_OVERLOADED", "{service} takes no more for now"),
    code_pb2.UNIMPLEMENTED: ("METHOD_NOT_IMPLEMENTED", "{service} does not offer this"),
    code_pb2.CANCELLED: ("CANCELLED", "{service} cancelled the call"),
}
_RETRIED: Final = {code_pb2.UNAVAILABLE, code_pb2.RESOURCE_EXHAUSTED}


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as it goes to a caller."""

    http: int
    body: bytes
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    reason: str = ""


def from_error(error: ServiceError, context: RequestContext) -> Failure:
    """One of the edge's own refusals."""
    status = to_status(error, domain=DOMAIN)
    failure = _failure(status, context, http=OWN.get(error.reason) or HTTP[status.code])
    if "allow" in error.metadata:
        failure.headers.append((b"allow", error.metadata["allow"].encode()))
    failure.headers.extend(_HEADERS.get(error.reason, ()))
    return failure


def from_rpc(error: grpc.aio.AioRpcError, service: str, context: RequestContext) -> Failure:
    """What a service said, or that it said nothing."""
    status = status_of(error)
    info = _unpacked(status.details, ErrorInfo)
    is_explained = info is not None
    if status.code in _HIDDEN and not (info and info.domain.endswith(OURS)):
        facts = {"peer": service, "grpc_status": _name(status.code)}  # Its text may quote anything.
        log.error("a service failed", extra=facts)
        return internal(context)
    if not is_explained:
        if status.code != code_pb2.RESOURCE_EXHAUSTED:  # Floods need no lines.
            facts = {"peer": service, "grpc_status": _name(status.code), "said": status.message}
            log.warning("a service did not answer", extra=facts)
        status = _bare(status, service)
    return _failure(status, context, http=HTTP.get(status.code, HTTP[code_pb2.UNKNOWN]))


def internal(context: RequestContext) -> Failure:
    """A bug, ours or a service's. The logs know more, by the request id."""
    info = ErrorInfo(reason="INTERNAL", domain=DOMAIN)
    status = Status(code=code_pb2.INTERNAL, message="internal error")
    status.details.add().Pack(info)
    return _failure(status, context, http=HTTP[code_pb2.INTERNAL])


def _bare(status: Status, service: str) -> Status:
    known = _BARE.get(status.code)
    reason, text = known or (_name(status.code), status.message[:200])
    info = ErrorInfo(reason=reason, domain=DOMAIN, metadata={"service": service})
    result = Status(code=status.code, message=text.format(service=service) if known else text)
    result.details.add().Pack(info)
    if status.code in _RETRIED:
        retry = RetryInfo()
        retry.retry_delay.seconds = RETRY_SECONDS
        result.details.add().Pack(retry)
    return result


def _failure(status: Status, context: RequestContext, *, http: int) -> Failure:
    info = _unpacked(status.details, ErrorInfo)
    retry = _unpacked(status.details, RetryInfo)
    pointer = info.metadata.get("schema_path", "")
    shown: dict[str, JSON] = {
        "status": "error",
        "code": int(http),
        "grpc_status": _name(status.code),
        "error_code": info.reason,
        "message": status.message,
        "schema_path": list(_steps(pointer)),
        "suggested_fix": info.metadata.get("suggested_fix", ""),
        "details": _details(status.details),
        "request_id": context.request_id,
        "trace_id": context.trace_id,
    }
    text = json.dumps(shown, ensure_ascii=False)
    failure = Failure(int(http), text.encode(), reason=info.reason)
    if retry is not None:
        seconds = math.ceil(retry.retry_delay.ToTimedelta().total_seconds())
        failure.headers.append((b"retry-after", b"%d" % max(seconds, 1)))
    return failure


def _steps(pointer: str) -> Iterable[str]:
    """A JSON Pointer's steps."""
    return (step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def _details(details: Iterable[Any]) -> list[JSON]:
    """The typed details as JSON; of types that are not known here only the name."""
    shown: list[JSON] = []
    for detail in details:
        if detail.Is(DebugInfo.DESCRIPTOR):
            continue
        try:
            shown.append(MessageToDict(detail, preserving_proto_field_name=True))
        except (TypeError, ValueError):
            shown.append({"@type": detail.type_url})
    return shown


def _unpacked(details: Iterable[Any], kind: Any) -> Any:
    for detail in details:
        if detail.Is(kind.DESCRIPTOR):
            return kind.FromString(detail.value)
    return None


def _name(code: int) -> str:
    return str(code_pb2.Code.Name(code)) if code in HTTP else f"CODE_{code}"
