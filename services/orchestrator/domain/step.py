"""One turn of the model: how it is to answer, the schema that binds it, and what it said."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from services.orchestrator.domain.embedding import embedded
from services.orchestrator.domain.tool import Tool

MAX_CALLS: Final = 4
THOUGHT_CHARACTERS: Final = 240
CHARACTERS_PER_TOKEN: Final = 2  # Cautious: a bound string must end before the tokens do.

_STEP_END: Final = '"}'


class Malformed(Exception):
    """The output is not what the step's schema asks for."""


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A call that the model asks for."""

    tool: str
    input: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a whole turn said: either tool calls or an answer."""

    calls: Sequence[ToolRequest] = ()
    answer: str = ""
    output: object = None


@dataclass(frozen=True, slots=True)
class Begun:
    """What a turn had said when it was cut off: its thought, and the start of its answer."""

    thought: str
    text: str
    most_characters: int
    """Of a step's answer, its start included: where the step's schema would have ended it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a turn is to answer.

    With `tools`, or where the step has to look like the ones before it, the output is an object
    with a thought and either tool calls or an answer. Else it is the answer itself.
    """

    tools: Sequence[Tool]
    is_wrapped: bool
    answer_schema: Mapping[str, object] | None
    max_tokens: int
    begun: Begun | None = None
    """With it, the output is the rest of a turn. Its answer is text."""
    unbound: frozenset[str] = frozenset()
    """The names of tools whose inputs may be any object."""

    @property
    def prefix(self) -> str:
        """The output of a turn up to where it was cut off; empty for one that begins."""
        if self.begun is None:
            return ""
        if not self.is_wrapped:
            return self.begun.text
        step = {"thought": self.begun.thought, "answer": self.begun.text}
        return json.dumps(step, ensure_ascii=False)[: -len(_STEP_END)]

    def schema(self) -> Mapping[str, object] | None:
        """The JSON Schema that binds the output; None leaves it free, as it does the rest of a
        turn: no grammar begins in the middle."""
        if self.begun is not None:
            return None
        if not self.is_wrapped:
            return self.answer_schema
        if self.answer_schema is not None:
            return step_schema(tuple(self.tools), self.answer_schema, self.unbound)
        return _text_step(tuple(self.tools), self.max_tokens, self.unbound)


_THOUGHT_SCHEMA: Final = {"type": "string", "minLength": 1, "maxLength": THOUGHT_CHARACTERS}


@lru_cache(64)
def _text_step(
    tools: tuple[Tool, ...], max_tokens: int, unbound: frozenset[str]
) -> Mapping[str, object]:
    """The same object for the same step, so that what is made of it can be kept."""
    longest = answer_characters(max_tokens)
    return step_schema(tools, {"type": "string", "minLength": 1, "maxLength": longest}, unbound)


def answer_characters(max_tokens: int) -> int:
    """The most characters of an answer in a step of so many tokens."""
    return max(32, max_tokens * CHARACTERS_PER_TOKEN - THOUGHT_CHARACTERS)


def step_schema(
    tools: tuple[Tool, ...], answer: Mapping[str, object], unbound: frozenset[str]
) -> Mapping[str, object]:
    """The schema of a step that calls one of these tools or answers so."""
    definitions: dict[str, object] = {}
    answer = embedded(answer, "answer", definitions)
    step = _object({"thought": _THOUGHT_SCHEMA, "answer": answer})
    if tools:
        calls = {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_CALLS,
            "items": {"anyOf": [_call(tool, definitions, unbound) for tool in tools]},
        }
        step = {"anyOf": [_object({"thought": _THOUGHT_SCHEMA, "tool_calls": calls}), step]}
    return {**step, "$defs": definitions} if definitions else step


def _object(properties: Mapping[str, object]) -> dict[str, object]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _call(tool: Tool, definitions: dict[str, object], unbound: frozenset[str]) -> dict[str, object]:
    if tool.name in unbound:
        return _object({"tool": {"const": tool.name}, "input": {"type": "object"}})
    given = embedded(tool.input_schema, f"tool_{tool.name}", definitions)
    return _object({"tool": {"const": tool.name}, "input": given})
