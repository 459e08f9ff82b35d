"""One call of a tool: what is asked, what comes of it, and the bounds it keeps."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from services.chassis.errors import Violation, invalid
from services.tool_registry.domain.tool import Definition, ToolFailure

ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
MAX_TIMEOUT: Final = timedelta(hours=1)
MAX_INTEGER: Final = 2**53
MAX_DEPTH: Final = 60
MAX_VALUES: Final = 100_000  # As many as a message may have.

# A part of the deadline is kept to answer in, or the caller never sees why.
_MARGIN: Final = timedelta(milliseconds=50)
_MARGIN_SHARE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked."""

    tenant: str
    name: str
    input: Mapping[str, object]
    id: str = ""
    """Empty: one is made."""
    timeout: timedelta | None = None
    """What the caller waits at most."""
    time_left: timedelta | None = None
    """Until the caller's deadline."""
    version: str = ""
    """Or a range; empty for the newest."""
    idempotency_key: str = ""
    """Empty: the call's id."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call: a result, or a failure."""

    id: str
    definition: Definition
    latency: timedelta
    result: object = None
    failure: ToolFailure | None = None


def timeout_of(milliseconds: float) -> timedelta:
    """A caller's timeout.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; it is not a time to wait.
    """
    most = MAX_TIMEOUT / timedelta(milliseconds=1)
    if math.isnan(milliseconds) or not 0 < milliseconds <= most:
        fix = f"send 1 to {most:.0f}, or leave it out for the tool's own"
        raise invalid(Violation("timeout_ms", "is not a time to wait", fix))
    return timedelta(milliseconds=milliseconds)


def checked_id(call_id: str) -> str:
    """The caller's id for a call.

    Raises:
        InvalidArgument: `INVALID_REQUEST`.
    """
    if not ID.fullmatch(call_id):
        fix = "use 1 to 64 of A-Z a-z 0-9 _ -, or leave it out"
        raise invalid(Violation("tool_call_id", "is not an id", fix))
    return call_id


def allowed(call: Call, definition: Definition) -> timedelta:
    """How long the tool may run: the least of its own, the caller's and the deadline's."""
    times = [definition.timeout]
    if call.timeout is not None:
        times.append(call.timeout)
    if call.time_left is not None:
        times.append(call.time_left - min(_MARGIN, call.time_left * _MARGIN_SHARE))
    return max(min(times), timedelta(0))


def checked_result(result: object, definition: Definition, max_bytes: int) -> object:
    """The result, if the tool kept its word.

    Raises:
        ToolFailure: `TOOL_RESULT_TOO_LARGE` or `TOOL_OUTPUT_INVALID`.
    """
    name = definition.name
    try:
        size = len(json.dumps(result, allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError, RecursionError):
        raise ToolFailure("TOOL_OUTPUT_INVALID", f"{name} returned what is not JSON") from None
    if size > max_bytes:
        message = f"{name} returned {size:,} bytes; at most {max_bytes:,} are allowed"
        raise ToolFailure("TOOL_RESULT_TOO_LARGE", message, "ask for less at a time")
    if size > MAX_VALUES and not _is_countable(result):
        message = f"{name} returned more than {MAX_VALUES:,} values"
        raise ToolFailure("TOOL_RESULT_TOO_LARGE", message, "ask for less at a time")
    if violations := definition.output_schema.violations(result):
        told = "; ".join(f"{each.field}: {each.message}" for each in violations[:3])
        raise ToolFailure("TOOL_OUTPUT_INVALID", f"{name} returned what it must not: {told}")
    if not _is_portable(result):
        message = f"{name} returned integers beyond 2^53 or more than {MAX_DEPTH} levels"
        raise ToolFailure("TOOL_OUTPUT_INVALID", message)
    return result


def _is_countable(result: object) -> bool:
    """Whether it has no more values than may go over the wire."""
    left, waiting = MAX_VALUES, [result]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Mapping | list | tuple):
            left -= len(each)
            if left < 0:
                return False
            waiting.extend(each.values() if isinstance(each, Mapping) else each)
    return True


def _is_portable(result: object) -> bool:
    """Whether every JSON reader sees the same value."""
    level = [result]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for each in level:
            if isinstance(each, Mapping):
                inner.extend(each.values())
            elif isinstance(each, list | tuple):
                inner.extend(each)
            elif isinstance(each, int | float) and not _is_exact(each):
                return False
        if not inner:
            return True
        level = inner
    return False


def _is_exact(number: float) -> bool:
    is_fraction = isinstance(number, float) and not number.is_integer()
    return is_fraction or -MAX_INTEGER <= number <= MAX_INTEGER
