"""One turn of the model: the schema that binds it, and how its output is read while it comes."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from services.orchestrator.domain.embedding import embedded
from services.orchestrator.domain.tool import Tool

MAX_CALLS: Final = 4
THOUGHT_CHARACTERS: Final = 240
CHARACTERS_PER_TOKEN: Final = 2  # Cautious: a bound string must end before the tokens do.
MAX_PREAMBLE: Final = 8 * 1024
MAX_OUTPUT_DEPTH: Final = 28  # With the levels around it, what protobuf reads back.
MAX_NUMBER: Final = 2**53

_STRING: Final = r'"(?:[^"\\]|\\.)*"'
_THOUGHT: Final = re.compile(rf'\s*\{{\s*"thought"\s*:\s*({_STRING})\s*,', re.DOTALL)
_ANSWER: Final = re.compile(r'\s*"answer"\s*:\s*')
_OPEN: Final = re.compile(r"\s*\{")
_PLAIN: Final = re.compile(r'[^"\\]*')
_HIGH: Final = frozenset({"d8", "d9", "da", "db"})
_PAIRED: Final = frozenset({"", "\\", "\\u"})
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


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
class Plan:
    """How a turn is to answer.

    With `tools`, or where the step has to look like the ones before it, the output is an object
    with a thought and either tool calls or an answer. Else it is the answer itself.
    """

    tools: Sequence[Tool]
    is_wrapped: bool
    answer_schema: Mapping[str, object] | None
    max_tokens: int

    def schema(self) -> Mapping[str, object] | None:
        """The JSON Schema that binds the output; None leaves it free."""
        if not self.is_wrapped:
            return self.answer_schema
        if self.answer_schema is not None:
            return _step(tuple(self.tools), self.answer_schema)
        return _text_step(tuple(self.tools), self.max_tokens)


_THOUGHT_SCHEMA: Final = {"type": "string", "minLength": 1, "maxLength": THOUGHT_CHARACTERS}


@lru_cache(64)
def _text_step(tools: tuple[Tool, ...], max_tokens: int) -> Mapping[str, object]:
    """The same object for the same step, so that what is made of it can be kept."""
    longest = max(32, max_tokens * CHARACTERS_PER_TOKEN - THOUGHT_CHARACTERS)
    return _step(tools, {"type": "string", "minLength": 1, "maxLength": longest})


def _step(tools: tuple[Tool, ...], answer: Mapping[str, object]) -> Mapping[str, object]:
    definitions: dict[str, object] = {}
    answer = embedded(answer, "answer", definitions)
    step = _object({"thought": _THOUGHT_SCHEMA, "answer": answer})
    if tools:
        calls = {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_CALLS,
            "items": {"anyOf": [_call(tool, definitions) for tool in tools]},
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


def _call(tool: Tool, definitions: dict[str, object]) -> dict[str, object]:
    given = embedded(tool.input_schema, f"tool_{tool.name}", definitions)
    return _object({"tool": {"const": tool.name}, "input": given})


@dataclass(slots=True)
class Reader:
    """Reads a turn's output as it comes: first the thought, then the text of the answer.

    `feed` returns what became readable. The answer's text is decoded; an answer bound by a schema
    of the caller's is passed on as the JSON it is.
    """

    plan: Plan
    thought: str | None = None
    """The thought, once it is whole."""
    _seen: list[str] = field(default_factory=list)
    _rest: str = ""
    """What is not read yet: of the preamble, or a half escape of the answer."""
    _answering: bool = False
    _is_string: bool = False
    _closed: bool = False
    _starts_at: int = 0
    """Where in the output the answer starts."""

    def __post_init__(self) -> None:
        self._answering = not self.plan.is_wrapped

    def feed(self, text: str) -> str:
        """More output; the answer's text that it brings."""
        self._seen.append(text)
        self._rest += text
        if not self._answering and not self._begin():
            return ""
        if not self.plan.is_wrapped:
            text, self._rest = self._rest, ""
            return text
        return self._string() if self._is_string else self._raw()

    def finish(self) -> Outcome:
        """What the whole output says.

        Raises:
            Malformed: it is not what the plan asks for.
        """
        whole = "".join(self._seen)
        if not self.plan.is_wrapped:
            return self._direct(whole)
        said = _parse(whole)
        if not isinstance(said, dict):
            raise Malformed("the output is not an object")
        if "answer" in said:
            return self._answer(said["answer"], whole)
        return Outcome(calls=self._calls(said.get("tool_calls")))

    def rest(self) -> str:
        """The end of an answer that is JSON, held back until the output was whole."""
        if not self.plan.is_wrapped or self._is_string or not self._answering:
            return ""
        return _without_end(self._rest)

    def _direct(self, whole: str) -> Outcome:
        if self.plan.answer_schema is not None:
            return Outcome(answer=whole, output=_parse(whole))
        if not whole.strip():
            raise Malformed("the output is empty")
        return Outcome(answer=whole)

    def _answer(self, answer: object, whole: str) -> Outcome:
        if self.plan.answer_schema is not None:
            return Outcome(answer=_without_end(whole[self._starts_at :]), output=answer)
        if not isinstance(answer, str) or not answer.strip():
            raise Malformed("the answer is not a text")
        return Outcome(answer=answer)

    def _calls(self, calls: object) -> Sequence[ToolRequest]:
        if not isinstance(calls, list) or not 1 <= len(calls) <= MAX_CALLS or not self.plan.tools:
            raise Malformed("the output has neither an answer nor tool calls")
        # Said twice by mistake, it would be done twice.
        harmless = {tool.name for tool in self.plan.tools if tool.is_idempotent}
        requests: list[ToolRequest] = []
        for call in calls:
            match call:
                case {"tool": str(name), "input": dict(given)}:
                    request = ToolRequest(name, given)
                    if request not in requests or name not in harmless:
                        requests.append(request)
                case _:
                    raise Malformed("a tool call lacks its tool or its input")
        return requests

    def _begin(self) -> bool:
        """Read up to the answer's first character; whether it is reached."""
        if self.thought is None and (match := _THOUGHT.match(self._rest)):
            self.thought = str(_parse(match[1]))
            self._rest = "{" + self._rest[match.end() :]
        start = _OPEN.match(self._rest)
        answer = _ANSWER.match(self._rest, start.end()) if start else None
        if answer is None or answer.end() == len(self._rest):
            if self.thought is None and len(self._rest) > MAX_PREAMBLE:
                raise Malformed("the output does not begin with a thought")
            return False
        self._answering = True
        self._is_string = self.plan.answer_schema is None
        self._rest = self._rest[answer.end() + self._is_string :]
        self._starts_at = sum(map(len, self._seen)) - len(self._rest)
        return True

    def _string(self) -> str:
        """Decode as much of the answer's string as is whole."""
        if self._closed:
            return ""
        text, end = self._rest, 0
        while (end := _PLAIN.match(text, end).end()) < len(text):  # type: ignore[union-attr] # matches anything
            if text[end] == '"':
                self._closed = True
                break
            after = _escape_end(text, end)
            if after > len(text):
                break
            end = after
        self._rest = text[end:]
        return _unescape(text[:end])

    def _raw(self) -> str:
        """Pass on JSON, holding back what may be the end of the wrapping object."""
        ready = self._rest.rstrip("} \t\r\n")
        self._rest = self._rest[len(ready) :]
        return ready


def _without_end(text: str) -> str:
    """JSON without the brace that closes the object around it."""
    return text.rstrip()[:-1].rstrip()


def _escape_end(text: str, start: int) -> int:
    """Where the escape that starts here ends; beyond the text when it is not whole.

    The escapes of a surrogate pair are one.
    """
    if text[start + 1 : start + 2] != "u":
        return start + 2
    if text[start + 2 : start + 4].lower() in _HIGH and text[start + 6 : start + 8] in _PAIRED:
        return start + 12
    return start + 6


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return str(_parse(f'"{text}"'))


def _parse(text: str) -> object:
    try:
        value = json.loads(text, strict=False, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise Malformed("the output is not JSON") from None
    if "\\u" in text and _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        raise Malformed("the output has half a surrogate pair")
    _check_plain(value, MAX_OUTPUT_DEPTH)
    return value


def _check_plain(value: object, depth: int) -> None:
    """Refuse what cannot be kept as JSON without surprises."""
    if isinstance(value, dict | list):
        if depth == 0:
            raise Malformed(f"the output is nested more than {MAX_OUTPUT_DEPTH} levels deep")
        for each in value.values() if isinstance(value, dict) else value:
            _check_plain(each, depth - 1)
    elif isinstance(value, int | float) and not -MAX_NUMBER <= value <= MAX_NUMBER:
        raise Malformed("the output has a number beyond 2^53")


def _refuse(constant: str) -> object:
    raise ValueError(constant)
