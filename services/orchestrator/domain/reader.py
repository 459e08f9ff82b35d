"""How the output of one turn of the model is read while it comes."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from services.orchestrator.domain.step import MAX_CALLS, Malformed, Outcome, Plan, ToolRequest

MAX_PREAMBLE: Final = 8 * 1024
MAX_OUTPUT_DEPTH: Final = 28  # With the levels around it, what protobuf reads back.
MAX_NUMBER: Final = 2**53
MAX_TAIL: Final = 16  # What may come behind the answer before nobody listens any more.

_STRING: Final = r'"(?:[^"\\]|\\.)*"'
_THOUGHT: Final = re.compile(rf'\s*\{{\s*"thought"\s*:\s*({_STRING})\s*,', re.DOTALL)
_ANSWER: Final = re.compile(r'\s*"answer"\s*:\s*')
_OPEN: Final = re.compile(r"\s*\{")
_PLAIN: Final = re.compile(r'[^"\\]*')
_HIGH: Final = frozenset({"d8", "d9", "da", "db"})
_PAIRED: Final = frozenset({"", "\\", "\\u"})
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(slots=True)
class Reader:
    """Reads a turn's output as it comes: first the thought, then the text of the answer.

    `feed` returns what became readable. The answer's text is decoded; an answer bound by a schema
    of the caller's is passed on as the JSON it is. The rest of a turn is read from where the turn
    was cut off, inside its answer; the answer ends where its string does, or at its longest.
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
    _told: list[str] = field(default_factory=list)
    """The answer of a step that goes on, as far as it is read."""
    _room: int = 0
    """How many characters it may still have."""
    _starts_at: int = 0
    """Where in the output the answer starts."""

    def __post_init__(self) -> None:
        self._answering = not self.plan.is_wrapped
        if (begun := self.plan.begun) is not None:
            self.thought = begun.thought
            self._seen.append(self.plan.prefix)
            self._answering, self._is_string = True, self.plan.is_wrapped
            self._told.append(begun.text)
            self._room = max(0, begun.most_characters - len(begun.text))

    @property
    def seen(self) -> str:
        """All of the output so far, as it came."""
        return "".join(self._seen)

    @property
    def has_ended(self) -> bool:
        """Whether the answer of a turn that went on is whole. Nothing binds what follows it, and
        nothing is made of it."""
        return self.plan.begun is not None and self._closed

    @property
    def is_beyond(self) -> bool:
        """Whether more follows that answer than the end of its step."""
        return self.has_ended and (self._rest[:1] != '"' or len(self._rest) > MAX_TAIL)

    def feed(self, text: str) -> str:
        """More output; the answer's text that it brings."""
        self._seen.append(text)
        self._rest += text
        if not self._answering and not self._begin():
            return ""
        if not self.plan.is_wrapped:
            text, self._rest = self._rest, ""
            return text
        if not self._is_string:
            return self._raw()
        return self._string() if self.plan.begun is None else self._more()

    def finish(self) -> Outcome:
        """What the whole output says.

        Raises:
            Malformed: it is not what the plan asks for.
        """
        whole = "".join(self._seen)
        if not self.plan.is_wrapped:
            return self._direct(whole)
        if self.plan.begun is not None:
            return self._gone_on()
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

    def _more(self) -> str:
        """More of an answer that goes on: no more than the step's schema would have let through."""
        more = self._string()[: self._room]
        self._told.append(more)
        self._room -= len(more)
        self._closed = self._closed or not self._room
        return more

    def _gone_on(self) -> Outcome:
        if not self._closed:
            raise Malformed("the answer does not end")
        return self._text("".join(self._told))

    def _direct(self, whole: str) -> Outcome:
        if self.plan.answer_schema is not None:
            return Outcome(answer=whole, output=_parse(whole))
        if not whole.strip():
            raise Malformed("the output is empty")
        return Outcome(answer=whole)

    def _answer(self, answer: object, whole: str) -> Outcome:
        if self.plan.answer_schema is not None:
            return Outcome(answer=_without_end(whole[self._starts_at :]), output=answer)
        return self._text(answer)

    def _text(self, answer: object) -> Outcome:
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
