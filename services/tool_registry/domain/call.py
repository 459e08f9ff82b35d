"""One call of a tool: what is asked, what comes of it, and the bounds it keeps."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from services.chassis.errors import Violation, invalid
from services.tool_registry.domain.refusals import runs_at_client
from services.tool_registry.domain.targets import Client
from services.tool_registry.domain.tool import Definition, Entry, ToolFailure

ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
KEY: Final = re.compile(r"[!-~]([ -~]{0,254}[!-~])?")  # It goes on as a header.
MAX_TIMEOUT: Final = timedelta(hours=1)

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
    responses: Mapping[str, object] = field(default_factory=dict)
    """Answers to what the call before asked for, by name."""
    state: str = ""
    """The state that the call before asked to be given back."""
    capabilities: Mapping[str, object] | None = None
    """What the caller can be asked for; None: nothing."""


@dataclass(frozen=True, slots=True)
class Warned:
    """Something to be known beside a result."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call: a result, a failure, or requests for input."""

    id: str
    definition: Definition
    latency: timedelta
    result: object = None
    failure: ToolFailure | None = None
    content: Sequence[Mapping[str, object]] = ()
    requests: Mapping[str, object] | None = None
    """What the tool asks for, by name, before it can answer."""
    state: str = ""
    """To be sent back with the answers."""
    warnings: Sequence[Warned] = ()
    is_large: bool = False
    """Whether the result takes long to be packed."""


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


def checked_key(key: str) -> str:
    """An idempotency key.

    Raises:
        InvalidArgument: `INVALID_REQUEST`.
    """
    if not KEY.fullmatch(key):
        fix = "use 1 to 256 printable ASCII characters, or leave it out"
        raise invalid(Violation("idempotency_key", "is not a key", fix))
    return key


def check(call: Call, entry: Entry) -> None:
    """Refuse a call that the tool's contract does not allow.

    Raises:
        InvalidArgument: `TOOL_INPUT_INVALID`.
        FailedPrecondition: `TOOL_RUNS_AT_CLIENT`.
    """
    if violations := entry.definition.input_schema.violations(call.input):
        raise invalid(*violations, reason="TOOL_INPUT_INVALID")
    if isinstance(entry.target, Client):
        raise runs_at_client(entry.definition.name)


def allowed(call: Call, definition: Definition) -> timedelta:
    """How long the tool may run: the least of its own, the caller's and the deadline's."""
    times = [definition.timeout]
    if call.timeout is not None:
        times.append(call.timeout)
    if call.time_left is not None:
        times.append(call.time_left - min(_MARGIN, call.time_left * _MARGIN_SHARE))
    return max(min(times), timedelta(0))
