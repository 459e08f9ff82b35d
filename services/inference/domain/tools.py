"""Tools that a model may call, and its calls. Nothing here is called: that is the caller's."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from services.chassis.errors import Violation
from services.inference.domain.model import Capability, Model

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"

MAX_TOOLS: Final = 128
MAX_TOOLS_BYTES: Final = 256 * 1024
"""Of all of them together, as they come."""
MAX_DESCRIPTION: Final = 4_096
CHOICES: Final = ("", "auto", "none", "required")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Tool:
    """Something that a model may call."""

    name: str
    description: str
    input_schema: Mapping[str, JSON]
    """A JSON Schema of an object."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What a model wants called."""

    id: str
    name: str
    input: Mapping[str, JSON]


def tool_faults(tools: Sequence[Tool], choice: str, model: Model) -> Iterator[Violation]:
    """What is wrong with the tools that a request offers."""
    if tools and Capability.TOOLS not in model.capabilities:
        fix = (
            "leave it out and describe the tools in a message, or name a model whose capabilities "
            "include tools; agents do without it"
        )
        yield Violation("tools", f"is nothing that {model.name} knows how to call", fix)
    if len(tools) > MAX_TOOLS:
        yield Violation("tools", f"has {len(tools)}; at most {MAX_TOOLS} are taken", "send fewer")
    names = [tool.name for tool in tools]
    for index, tool in enumerate(tools[: MAX_TOOLS + 1]):
        yield from _faults(tool, f"tools[{index}]", is_known=tool.name in names[:index])
    if choice not in CHOICES and choice not in names:
        fault = f"is {choice[:64]!r}, which is none of the tools"
        yield Violation("tool_choice", fault, "send auto, none, required, or the name of a tool")
    if choice and not tools:
        yield Violation("tool_choice", "is sent without tools", "send tools, or leave it out")


def _faults(tool: Tool, field: str, *, is_known: bool) -> Iterator[Violation]:
    if not _NAME.fullmatch(tool.name):
        fault = f"is {tool.name[:64]!r}, which is no tool's name"
        yield Violation(f"{field}.name", fault, "send 1 to 64 of A-Z a-z 0-9 _ -")
    if is_known:
        yield Violation(f"{field}.name", f"{tool.name[:64]!r} is there twice", "send each once")
    if len(tool.description) > MAX_DESCRIPTION:
        fault = f"has {len(tool.description)} characters"
        fix = f"send at most {MAX_DESCRIPTION}"
        yield Violation(f"{field}.description", fault, fix)
