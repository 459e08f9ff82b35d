"""What a caller asks for, and what of it is refused."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.chassis.errors import Violation, invalid
from services.chassis.versions import is_wanted
from services.orchestrator.domain import caching, named
from services.orchestrator.domain.events import CallSpec, ClientTool, Message, Sampling
from services.orchestrator.domain.large import EXCERPT_CHARACTERS
from services.orchestrator.domain.named import NAME, NAME_FIX
from services.orchestrator.domain.tool import AGENT_PREFIX, READ_RESULT, is_reserved

ROLES: Final = ("system", "user", "assistant")
TOOL_CHOICES: Final = ("", "auto", "none")
ON_DISCONNECT: Final = ("", "cancel", "continue")
ON_DEADLINE: Final = ("", "continue", "pause")
ON_BUSY: Final = ("", "reject", "enqueue", "interrupt")
CLASSES: Final = ("", "classification", "short_answer", "tool_use", "long_reasoning")
MAX_STEPS: Final = 32
MAX_COST_USD: Final = 1_000_000
MAX_TIMEOUT_MS: Final = 300_000
MAX_MESSAGES: Final = 200
MAX_TOOLS: Final = 128
MAX_CLIENT_TOOLS: Final = 32
MAX_DESCRIPTION: Final = 1000
MAX_STOPS: Final = 8
MAX_LABELS: Final = 16
MAX_TOKENS: Final = 1_000_000
MAX_FAULTS: Final = 10
MAX_INPUT_BYTES: Final = 256 * 1024  # Of a call, as JSON.
MAX_CAPABILITIES_BYTES: Final = 4 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """A run that someone asks for; None means the default."""

    query: str
    messages: Sequence[Message]
    model: str
    tools: Sequence[str]
    tool_choice: str
    response_schema: Mapping[str, object] | None
    sampling: Sampling
    timeout_ms: float | None
    steps: int | None
    tokens: int | None
    cost_usd: float | None
    duration_ms: float | None
    on_disconnect: str
    on_deadline: str
    client_tools: Sequence[ClientTool]
    approval_tools: Sequence[str]
    labels: Mapping[str, str]
    idempotency_key: str
    fingerprint: str
    """Tells this request from others with the same key; empty without one."""
    source: bytes
    """The request as it came."""
    agent_id: str = ""
    """Who the task runs as; empty for the default agent."""
    agent_version: int = 0
    """In which version, once that is known."""
    parent_task_id: str = ""
    """The task that asks; empty where a caller does."""
    depth: int = 0
    """How many tasks stand above the one that is asked for."""
    until: datetime | None = None
    """When that ends at the latest."""

    session_id: str = ""
    """Empty for a new session."""
    on_busy: str = ""
    """Empty for what the session says."""
    call: CallSpec | None = None
    """The one call that the task is; None where it asks a model."""
    request_class: str = ""
    """What kind of work it is; empty for what it looks like."""
    cache: str = ""
    """What it says of cached answers, as `caching` reads it."""


@dataclass(frozen=True, slots=True)
class Texts:
    """How long texts may be that are kept elsewhere: those of more than `inline_bytes`."""

    inline_bytes: int
    most_bytes: int


def texts(request: Request) -> Iterator[tuple[str, str]]:
    """Each text of a request, under its name."""
    yield "query", request.query
    for index, message in enumerate(request.messages):
        yield f"messages[{index}]", message.content


def split(request: Request) -> tuple[str, Sequence[Message]]:
    """What is asked, and the conversation before it."""
    if request.query or request.call is not None:
        return request.query, request.messages
    return request.messages[-1].content, request.messages[:-1]


def check(request: Request, *, max_query_bytes: int, large: Texts | None = None) -> None:
    """Refuse what cannot be run, naming every fault. With `large`, texts may be kept elsewhere, and
    their beginnings count.

    Raises:
        InvalidArgument: `INVALID_REQUEST`.
    """
    asked = _query(request, max_query_bytes, large)
    if request.call is not None:
        asked = _call(request, request.call)
    if found := [*asked, *faults(request)]:
        raise invalid(*found[:MAX_FAULTS])


def faults(request: Request) -> Iterator[Violation]:
    """What is wrong with a request beside what it asks."""
    yield from _words(request)
    yield from _session(request)
    yield from _tools(request.tools)
    yield from _tool_names("approval_tools", [x for x in request.approval_tools if x != "*"])
    yield from _client_tools(request.client_tools)
    yield from _sampling(request.sampling)
    yield from _limits(request)
    yield from caching.faults(request.cache)
    yield from labels_faults(request.labels)


def _query(request: Request, max_bytes: int, large: Texts | None) -> Iterator[Violation]:
    if len(request.messages) > MAX_MESSAGES:
        fix = f"send at most {MAX_MESSAGES} messages"
        yield Violation("messages", f"has more than {MAX_MESSAGES} messages", fix)
    for index, message in enumerate(request.messages[:MAX_MESSAGES]):
        if message.role not in ROLES:
            fix = "use one of " + ", ".join(ROLES)
            yield Violation(f"messages[{index}].role", "is not a role of a request", fix)
    ends_with_user = bool(request.messages) and request.messages[-1].role == "user"
    asked = request.query or (request.messages[-1].content if ends_with_user else "")
    if not asked.strip():
        yield Violation("query", "is empty", "say what the agent is to do")
    size = 0
    for name, text in texts(request):
        takes = len(text.encode())
        if large is not None and takes > large.inline_bytes:
            yield from _large(name, takes, large)
            takes = min(takes, 4 * EXCERPT_CHARACTERS)
        size += takes
    if size > max_bytes:
        fix = f"send at most {max_bytes} bytes of query and messages together"
        field = "query" if len(request.query) * 2 > size or not request.messages else "messages"
        yield Violation(field, f"is {size} bytes, over the limit of {max_bytes}", fix)


def _call(request: Request, call: CallSpec) -> Iterator[Violation]:
    for field, says in _TO_A_MODEL.items():
        if says(request):
            yield Violation(field, "is for a model, and a call asks none", f"leave {field} out")
    if not NAME.fullmatch(call.tool) or is_reserved(call.tool):
        yield Violation("call.tool", "is not the name of a tool of the registry", NAME_FIX)
    if not is_wanted(call.version):
        yield Violation("call.version", "is no version", named.VERSION_FIX)
    for field, value, most in (
        ("call.input", call.input, MAX_INPUT_BYTES),
        ("call.capabilities", call.capabilities, MAX_CAPABILITIES_BYTES),
    ):
        if (size := len(json.dumps(value, ensure_ascii=False).encode())) > most:
            yield Violation(field, f"is {size} bytes", f"send at most {most} bytes, as JSON")


_TO_A_MODEL: Final[Mapping[str, Callable[[Request], object]]] = {
    "query": lambda request: request.query,
    "messages": lambda request: request.messages,
    "model": lambda request: request.model,
    "request_class": lambda request: request.request_class,
    "agent_id": lambda request: request.agent_id,
    "session_id": lambda request: request.session_id,
    "on_busy": lambda request: request.on_busy,
    "tools": lambda request: request.tools,
    "tool_choice": lambda request: request.tool_choice,
    "client_tools": lambda request: request.client_tools,
    "response_schema": lambda request: request.response_schema is not None,
    "sampling": lambda request: request.sampling != Sampling(),
    "limits.steps": lambda request: request.steps is not None,
    "limits.tokens": lambda request: request.tokens is not None,
    "limits.cost_usd": lambda request: request.cost_usd is not None,
    "cache": lambda request: request.cache,
}
"""What a call of a tool has no use for."""


def _large(name: str, size: int, large: Texts) -> Iterator[Violation]:
    if size > large.most_bytes:
        fix = f"send at most {large.most_bytes} bytes, or give the agent a tool that reads them"
        yield Violation(name, f"is {size} bytes, over the limit of {large.most_bytes}", fix)


def check_readable(request: Request, large: Texts | None) -> None:
    """Refuse texts that are kept elsewhere where the agent, as it is to run, may call no tools.

    Raises:
        InvalidArgument: `INVALID_REQUEST`.
    """
    if large is None or request.tool_choice != "none":
        return
    fix = f"let the agent call tools, or send at most {large.inline_bytes} bytes"
    sizes = [(name, len(text.encode())) for name, text in texts(request)]
    faults = [
        Violation(name, f"is {size} bytes, of which an agent reads more with a tool", fix)
        for name, size in sizes
        if size > large.inline_bytes
    ]
    if faults:
        raise invalid(*faults[:MAX_FAULTS])


def _words(request: Request) -> Iterator[Violation]:
    if request.tool_choice not in TOOL_CHOICES:
        yield Violation("tool_choice", "is not a choice", "use auto or none")
    if request.on_disconnect not in ON_DISCONNECT:
        yield Violation("on_disconnect", "is not a choice", "use cancel or continue")
    if request.on_deadline not in ON_DEADLINE:
        yield Violation("on_deadline", "is not a choice", "use continue or pause")
    if request.request_class not in CLASSES:
        fix = f"use one of {', '.join(CLASSES[1:])}, or leave it out"
        yield Violation("request_class", "is no kind of work", fix)
    if len(request.idempotency_key) > 256:
        yield Violation("idempotency_key", "is too long", "send at most 256 characters")
    yield from _names(request)


def _names(request: Request) -> Iterator[Violation]:
    if request.agent_id and not NAME.fullmatch(request.agent_id):
        yield Violation("agent_id", "is not an agent's id", "use an agent_id of GET /v1/agents")
    if len(request.model) > 256:
        yield Violation("model", "is longer than 256 characters", "name a model of GET /v1/models")


def _tools(names: Sequence[str]) -> Iterator[Violation]:
    if len(names) > MAX_TOOLS:
        yield Violation("tools", f"names more than {MAX_TOOLS} tools", f"name at most {MAX_TOOLS}")
    yield from named.faults("tools", names[:MAX_TOOLS])


def _tool_names(field: str, names: Sequence[str]) -> Iterator[Violation]:
    if len(names) > MAX_TOOLS:
        yield Violation(field, f"names more than {MAX_TOOLS} tools", f"name at most {MAX_TOOLS}")
    for index, name in enumerate(names[:MAX_TOOLS]):
        if not NAME.fullmatch(name):
            yield Violation(f"{field}[{index}]", "is not a tool's name", NAME_FIX)


def _client_tools(tools: Sequence[ClientTool]) -> Iterator[Violation]:
    field = "client_tools"
    if len(tools) > MAX_CLIENT_TOOLS:
        fix = f"send at most {MAX_CLIENT_TOOLS}"
        yield Violation(field, f"has more than {MAX_CLIENT_TOOLS}", fix)
    for index, each in enumerate(tools[:MAX_CLIENT_TOOLS]):
        if not NAME.fullmatch(each.name):
            yield Violation(f"{field}[{index}].name", "is not a tool's name", NAME_FIX)
        if any(each.name == other.name for other in tools[:index]):
            yield Violation(f"{field}[{index}].name", "is there twice", "name each tool once")
        if is_reserved(each.name):
            fix = f"choose a name that is not {READ_RESULT}, and does not begin with {AGENT_PREFIX}"
            yield Violation(f"{field}[{index}].name", "is the orchestrator's own", fix)
        if len(each.description) > MAX_DESCRIPTION:
            fix = f"send at most {MAX_DESCRIPTION} characters"
            yield Violation(f"{field}[{index}].description", "is too long", fix)


def _session(request: Request) -> Iterator[Violation]:
    yield from on_busy_faults(request.on_busy)
    if len(request.session_id) > 64:
        yield Violation("session_id", "is too long", "use the session_id of an answer")


def on_busy_faults(on_busy: str) -> Iterator[Violation]:
    """What is wrong with a policy for sessions whose last task goes on."""
    if on_busy not in ON_BUSY:
        yield Violation("on_busy", "is not a choice", "use reject, enqueue or interrupt")


def _sampling(sampling: Sampling) -> Iterator[Violation]:
    yield from _number("sampling.temperature", sampling.temperature, _between(0, 2), "0 to 2")
    yield from _number(
        "sampling.top_p", sampling.top_p, lambda p: 0 < p <= 1, "above 0 and at most 1"
    )
    bound = f"1 to {MAX_TOKENS}"
    yield from _number("sampling.max_tokens", sampling.max_tokens, _between(1, MAX_TOKENS), bound)
    yield from _number("sampling.seed", sampling.seed, _between(0, 2**31), "0 to 2147483647")
    if len(sampling.stop) > MAX_STOPS:
        yield Violation(
            "sampling.stop", f"has {len(sampling.stop)} texts", f"send at most {MAX_STOPS}"
        )
    for index, text in enumerate(sampling.stop[:MAX_STOPS]):
        if not 1 <= len(text) <= 64:
            field = f"sampling.stop[{index}]"
            yield Violation(field, "is empty or too long", "send 1 to 64 characters")


def _limits(request: Request) -> Iterator[Violation]:
    steps = f"1 to {MAX_STEPS}"
    yield from _number("limits.steps", request.steps, _between(1, MAX_STEPS), steps)
    tokens = "1 to 2147483647"
    yield from _number("limits.tokens", request.tokens, _between(1, 2**31), tokens)
    dollars = f"above 0 and at most {MAX_COST_USD:,}"
    yield from _number(
        "limits.cost_usd", request.cost_usd, lambda cost: 0 < cost <= MAX_COST_USD, dollars
    )
    allowed = f"1 to {MAX_TIMEOUT_MS} milliseconds"
    fits = _between(1, MAX_TIMEOUT_MS)
    yield from _number("timeout_ms", request.timeout_ms, fits, allowed)
    yield from _number("limits.duration_ms", request.duration_ms, fits, allowed)


def check_timeout(timeout_ms: float | None) -> None:
    """Refuse a time to wait that is none."""
    allowed = f"1 to {MAX_TIMEOUT_MS} milliseconds"
    if faults := [*_number("timeout_ms", timeout_ms, _between(1, MAX_TIMEOUT_MS), allowed)]:
        raise invalid(*faults)


def labels_faults(labels: Mapping[str, str]) -> Iterator[Violation]:
    """What is wrong with labels."""
    if len(labels) > MAX_LABELS:
        yield Violation("labels", f"has {len(labels)} labels", f"send at most {MAX_LABELS}")
    for key, value in labels.items():
        if not NAME.fullmatch(key):
            yield Violation(
                "labels", f"{key[:64]!r} is not a label's name", "use 1 to 64 of A-Z a-z 0-9 _ -"
            )
        if len(value) > 256:
            yield Violation(f"labels.{key[:64]}", "is too long", "send at most 256 characters")


def _between(low: float, high: float) -> Callable[[float], bool]:
    return lambda number: low <= number <= high


def _number(
    field: str, number: float | None, fits: Callable[[float], bool], allowed: str
) -> Iterator[Violation]:
    if number is not None and not (math.isfinite(number) and fits(number)):
        yield Violation(field, f"is {number:.15g}", f"send {allowed}, or leave it out")
