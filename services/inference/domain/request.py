"""What callers ask for, and what makes a request acceptable to any engine."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

from services.chassis.errors import Violation, invalid
from services.inference.domain import constraint, tools
from services.inference.domain.constraint import Constraint
from services.inference.domain.model import Capability, Model
from services.inference.domain.texts import size_of
from services.inference.domain.tools import Tool, tool_faults

JSON: TypeAlias = tools.JSON

ROLES: Final = ("system", "user", "assistant", "tool")
MAX_MESSAGES: Final = 1_000
MAX_STOPS: Final = 8
MAX_STOP_CHARACTERS: Final = 64


class Priority(IntEnum):
    """Who goes first where not all can go at once: the smaller number."""

    INTERACTIVE = 0
    """Somebody waits for it."""
    BATCH = 10
    """It may take as long as it takes."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to choose tokens. None means the model's default."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class ResponseSchema:
    """A JSON Schema that is valid, and what tells whether a value matches it."""

    document: Mapping[str, JSON]
    """Its `properties` stand in the order in which they are to be produced."""
    violations: Callable[[JSON], Sequence[Violation]]


@dataclass(frozen=True, slots=True)
class Request:
    """One assistant turn that is asked for. An empty `model` means the default one."""

    model: str
    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    schema: ResponseSchema | None = None
    prefix: str = ""
    """The start of the turn, to go on from."""
    priority: Priority = Priority.INTERACTIVE
    tools: tuple[Tool, ...] = ()
    """What the turn may call. Nobody calls it here: the calls are what comes back."""
    tool_choice: str = ""
    """`auto`, `none`, `required`, or the name of the one to call; empty means `auto`."""
    constraint: Constraint = constraint.FREE
    """What binds the turn, other than a schema."""


def check(request: Request, model: Model, *, max_bytes: int) -> None:
    """Refuse what no engine takes, or not for this model. `max_bytes` bounds the contents of all
    messages, and the prefix, together.

    Raises:
        InvalidArgument: `INVALID_REQUEST`, with every fault.
    """
    check_messages(request.messages, request.prefix, max_bytes=max_bytes)
    faults = [
        *_sampling_faults(request.sampling),
        *_prefix_faults(request, model),
        *_schema_faults(request, model),
        *constraint.faults(request.constraint, model, others=_binding(request)),
        *_tool_faults(request, model),
    ]
    if faults:
        raise invalid(*faults)


def check_messages(messages: Sequence[Message], prefix: str = "", *, max_bytes: int) -> None:
    """Refuse a conversation that no engine takes.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; it is empty, too long or not text.
    """
    if not messages:
        raise invalid(Violation("messages", "is empty", "send at least one message"))
    if len(messages) > MAX_MESSAGES:
        fault = f"has more than the {MAX_MESSAGES} messages that are taken"
        raise invalid(Violation("messages", fault, "leave out the oldest ones"))
    size = 0
    for index, message in enumerate(messages):
        if message.role not in ROLES:
            fault = f"is {message.role[:32]!r}, which is no role"
            raise invalid(Violation(f"messages[{index}].role", fault, f"use {', '.join(ROLES)}"))
        size += size_of(message.content, f"messages[{index}].content")
    size += size_of(prefix, "prefix")
    if size > max_bytes:
        fault = f"has {size} bytes of content, the prefix's included; at most {max_bytes} are taken"
        raise invalid(Violation("messages", fault, "send less text"))


def _prefix_faults(request: Request, model: Model) -> Iterator[Violation]:
    if not request.prefix:
        return
    if request.schema is not None:
        fault = "is sent together with response_schema, which cannot bind the rest of an output"
        yield Violation("prefix", fault, "leave one of them out")
    if not model.can_continue:
        fault = f"is nothing that {model.name} goes on from"
        fix = "leave it out, or name a model whose can_continue is true"
        yield Violation("prefix", fault, fix)


def _binding(request: Request) -> tuple[str, ...]:
    """What else is set that says how the turn begins, or what it may be."""
    others = {
        "response_schema": request.schema is not None,
        "prefix": bool(request.prefix),
        "tools": bool(request.tools),
    }
    return tuple(name for name, is_set in others.items() if is_set)


def _schema_faults(request: Request, model: Model) -> Iterator[Violation]:
    if request.schema is not None and Capability.SCHEMA not in model.capabilities:
        fault = f"binds nothing that {model.name} says"
        fix = "leave it out, or name a model whose capabilities include schema"
        yield Violation("response_schema", fault, fix)


def _tool_faults(request: Request, model: Model) -> Iterator[Violation]:
    yield from tool_faults(request.tools, request.tool_choice, model)
    others = {"response_schema": request.schema is not None, "prefix": bool(request.prefix)}
    for field in (name for name, is_there in others.items() if is_there and request.tools):
        yield Violation(field, "is sent together with tools", "leave one of them out")


def _sampling_faults(sampling: Sampling) -> Iterator[Violation]:
    temperature, top_p = sampling.temperature, sampling.top_p
    if temperature is not None and not 0 <= temperature <= 2:
        fault = f"is {_number(temperature)}; it must be from 0 to 2"
        yield Violation("sampling.temperature", fault, "send 0 to 2, such as 0.7")
    if top_p is not None and not 0 < top_p <= 1:
        fault = f"is {_number(top_p)}; it must be above 0 and at most 1"
        yield Violation("sampling.top_p", fault, "send a share such as 0.9")
    if sampling.max_tokens is not None and sampling.max_tokens < 1:
        fault = f"is {sampling.max_tokens}; it must be at least 1"
        yield Violation("sampling.max_tokens", fault, "send 1 or more, or leave it out")
    if len(sampling.stop) > MAX_STOPS:
        fault = f"has {len(sampling.stop)} texts; at most {MAX_STOPS} are taken"
        yield Violation("sampling.stop", fault, "send fewer stop texts")
    for index, stop in enumerate(sampling.stop):
        if not 1 <= len(stop) <= MAX_STOP_CHARACTERS:
            fault = f"has {len(stop)} characters"
            fix = f"send 1 to {MAX_STOP_CHARACTERS} characters"
            yield Violation(f"sampling.stop[{index}]", fault, fix)


def _number(value: float) -> str:
    return f"{value:g}" if math.isfinite(value) else "not a finite number"
