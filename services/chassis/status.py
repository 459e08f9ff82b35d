"""`ServiceError` to google.rpc.Status (AIP-193) and back: one table, both ways."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from services.chassis import errors

CODES: Final[dict[type[errors.ServiceError], int]] = {
    kind: code_pb2.Code.Value(kind.code)
    for kind in (
        errors.InvalidArgument,
        errors.NotFound,
        errors.AlreadyExists,
        errors.FailedPrecondition,
        errors.Aborted,
        errors.PermissionDenied,
        errors.Unauthenticated,
        errors.ResourceExhausted,
        errors.Unavailable,
        errors.DeadlineExceeded,
        errors.Internal,
    )
}
KINDS: Final = {code: kind for kind, code in CODES.items()}

# What a Status without ErrorInfo means: it comes from grpc itself, or from a bug of the peer's.
_BARE: Final = {
    code_pb2.UNAVAILABLE: "PEER_UNAVAILABLE",
    code_pb2.DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
    code_pb2.RESOURCE_EXHAUSTED: "PEER_OVERLOADED",
    code_pb2.UNAUTHENTICATED: "UNAUTHENTICATED",
    code_pb2.PERMISSION_DENIED: "PERMISSION_DENIED",
}
_OTHERS: Final = {code_pb2.CANCELLED: errors.Unavailable}  # By the peer: it stops.
DETAILS_KEY: Final = "grpc-status-details-bin"

# Peers refuse more than 8 KiB of trailers, and then see neither code nor reason. A status goes
# there in base64, and its message once more, in per cents.
_MESSAGE_BYTES: Final = 1_024
_STATUS_BYTES: Final = 3_000
_MAX_VIOLATIONS: Final = 16


def to_status(error: errors.ServiceError, *, domain: str) -> Status:
    """The error as it goes over the wire, cut to what fits there."""
    message = _cut(error.message, _MESSAGE_BYTES)
    room = _STATUS_BYTES - len(message.encode())
    metadata = {}
    for key, value in error.metadata.items():
        metadata[key] = _cut(value, room // 2)
        room -= len(metadata[key].encode())
    info = ErrorInfo(reason=error.reason, domain=error.domain or domain, metadata=metadata)
    details: list[Message] = [info]
    if error.violations:
        details.append(_bad_request(error.violations[:_MAX_VIOLATIONS], room))
    if error.retry_after is not None:
        retry = RetryInfo()
        retry.retry_delay.FromTimedelta(error.retry_after)
        details.append(retry)
    return Status(code=CODES[type(error)], message=message, details=map(_pack, details))


def _bad_request(violations: Sequence[errors.Violation], room: int) -> BadRequest:
    """As many of the violations as fit, the first at any rate."""
    bad = BadRequest()
    for each in violations:
        field, description = _cut(each.field, 256), _cut(each.message, 512)
        room -= len(field.encode()) + len(description.encode())
        if room < 0 and bad.field_violations:
            break
        bad.field_violations.add(field=field, description=description)
    return bad


def _cut(text: str, limit_bytes: int) -> str:
    """The text, or its beginning and an ellipsis. What is no Unicode becomes question marks."""
    if not text.isascii():
        text = text.encode(errors="replace").decode()
    if len(text) * 4 <= limit_bytes or len(raw := text.encode()) <= limit_bytes:
        return text
    return raw[: max(0, limit_bytes - 3)].decode(errors="ignore") + "…"


def from_rpc_error(error: grpc.aio.AioRpcError) -> errors.ServiceError:
    """What a peer's failure is here, keeping its domain and reason."""
    status = status_of(error)
    kind = KINDS.get(status.code, _OTHERS.get(status.code, errors.Internal))
    info, violations, retry_after = _unpack(status.details)
    if info is None:
        # What grpc itself says names addresses, which are not the caller's to see.
        reason, name = _BARE.get(status.code, "PEER_FAILED"), code_pb2.Code.Name(status.code)
        return kind(reason, f"a service that this one needs did not answer ({name})")
    result = kind(info.reason, status.message)
    result.metadata = dict(info.metadata)
    result.domain = info.domain
    result.violations = violations
    result.retry_after = retry_after
    return result


def status_of(error: grpc.aio.AioRpcError) -> Status:
    """The google.rpc.Status of a failed call, made from code and text where it carries none."""
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return Status.FromString(value)
            except DecodeError:
                break
    return Status(code=error.code().value[0], message=error.details() or "")


def _pack(message: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed


def _unpack(
    details: Iterable[AnyMessage],
) -> tuple[ErrorInfo | None, list[errors.Violation], timedelta | None]:
    info: ErrorInfo | None = None
    violations: list[errors.Violation] = []
    retry_after: timedelta | None = None
    for detail in details:
        if detail.Is(ErrorInfo.DESCRIPTOR):
            info = ErrorInfo.FromString(detail.value)
        elif detail.Is(BadRequest.DESCRIPTOR):
            bad = BadRequest.FromString(detail.value)
            violations = [errors.Violation(v.field, v.description) for v in bad.field_violations]
        elif detail.Is(RetryInfo.DESCRIPTOR):
            retry_after = RetryInfo.FromString(detail.value).retry_delay.ToTimedelta()
    return info, violations, retry_after
