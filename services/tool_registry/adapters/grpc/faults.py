"""What a target's failed call is to the tool's caller: one table."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from services.chassis.egress.secrets import NO_SECRETS, Scrub
from services.chassis.errors import (
    ResourceExhausted,
    ServiceError,
    Unavailable,
)
from services.chassis.status import status_of
from services.tool_registry.domain.refusals import SOON, timed_out, too_large, unavailable
from services.tool_registry.domain.texts import line
from services.tool_registry.domain.tool import ToolFailure

_Code: Final = grpc.StatusCode
_TARGETS: Final = frozenset(
    {_Code.CANCELLED, _Code.UNKNOWN, _Code.INTERNAL, _Code.DATA_LOSS, _Code.UNIMPLEMENTED}
)
"""Codes of a target that is broken. The others say something of what was asked."""

_REASON: Final = re.compile(r"[A-Z][A-Z0-9_]{1,61}[A-Z0-9]")
_TOO_LARGE: Final = re.compile(r"(Received|Decompressed) message larger than max")
"""What grpc says, here, of an answer beyond the channel's bound."""
MORE_BYTES: Final = "more bytes than a result may have"
_MESSAGE: Final = 500
_FIX: Final = 200
_FIELDS: Final = 3
_MAX_RETRY: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class _Said:
    """What a status says beside its code."""

    text: str
    fix: str
    retry_after: timedelta | None
    is_servers: bool
    """Whether the server said it, and not grpc itself: only then it names nothing of ours."""


def failure(
    error: grpc.aio.AioRpcError, tool: str, timeout: timedelta, scrub: Scrub = NO_SECRETS
) -> Exception:
    """The ToolFailure or the ServiceError for it. It does not repeat secrets."""
    code, said = error.code(), _said(status_of(error), scrub)
    if code is _Code.DEADLINE_EXCEEDED:
        return timed_out(tool, timeout)
    if code is _Code.UNAVAILABLE:
        if not said.is_servers:
            return unreached(tool)
        told = f"{tool} is unavailable: {said.text}"
        return _later(Unavailable, "TOOL_UNAVAILABLE", told, said, tool)
    if code is _Code.RESOURCE_EXHAUSTED:
        if _TOO_LARGE.search(error.details() or ""):
            return too_large(tool, MORE_BYTES)
        if said.retry_after is not None:
            told = f"{tool} is called too often: {said.text}"
            return _later(ResourceExhausted, "TOOL_RATE_LIMITED", told, said, tool)
    told = f"{tool} failed ({code.name}): {said.text}"
    return ToolFailure(f"GRPC_{code.name}", told, said.fix, is_targets=code in _TARGETS)


def _later(
    kind: type[ServiceError], reason: str, message: str, said: _Said, tool: str
) -> ServiceError:
    return kind(reason, message, tool=tool).after(said.retry_after or SOON)


def unreached(tool: str) -> ServiceError:
    """That nothing answers where a tool runs."""
    message = f"the server of {tool} cannot be reached, or hung up"
    return unavailable(tool, message)


def _said(status: Status, scrub: Scrub) -> _Said:
    info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
    for detail in status.details:
        for message in (info, bad, retry):
            try:
                detail.Unpack(message)
            except DecodeError:  # It may hold anything.
                message.Clear()
    parts = [status.message or "it does not say why", *_fields(bad)]
    if _REASON.fullmatch(info.reason):
        parts.append(f"({info.reason})")
    return _Said(
        text=line(scrub.text(" ".join(parts)), _MESSAGE),
        fix=line(scrub.text(info.metadata.get("suggested_fix", "")), _FIX),
        retry_after=_delay(retry.retry_delay) if retry.HasField("retry_delay") else None,
        is_servers=bool(status.details),
    )


def _fields(bad: BadRequest) -> Iterator[str]:
    for each in bad.field_violations[:_FIELDS]:
        yield f"[{each.field}: {each.description}]"


def _delay(duration: Duration) -> timedelta:
    seconds = duration.seconds + duration.nanos / 1e9
    return timedelta(seconds=min(max(seconds, 0.0), _MAX_RETRY.total_seconds()))
