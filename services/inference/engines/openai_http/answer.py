"""A turn, put together from the events of an upstream's stream. Pure, but for the outbox it fills.

What it says is not trusted: every shape is looked at, and what is none is an `ENGINE_FAILED`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final

from services.inference.domain.generation import Finished, FinishReason, Usage
from services.inference.domain.request import JSON, ResponseSchema
from services.inference.domain.tools import MAX_TOOLS
from services.inference.engines import failures
from services.inference.engines.openai_http.calls import Calls
from services.inference.engines.openai_http.faults import RefusedError, refusal_of
from services.inference.engines.outbox import Outbox

DONE: Final = b"[DONE]"
_REASONS: Final[Mapping[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
_STARTS: Final = frozenset('{["-0123456789tfn')
EVENT_PARTS: Final = 128 * 1024
"""Of one event: so much is read within some milliseconds, on the loop."""
_PIECES: Final = 8  # That a token comes in, at most: some servers send each letter by itself.
_BRACKETS: Final = (b"[", b"{", b",")
_MOST_TOKENS: Final = 2**30  # Of prompt and of output: their sum has to fit into 32 bits.


class Answer:
    """Text goes to the outbox as it comes; what is left is there at the end."""

    def __init__(self, outbox: Outbox, schema: ResponseSchema | None, most: int) -> None:
        """`most` tokens were asked for."""
        self._outbox = outbox
        self._most = _PIECES * most
        self._schema = schema
        self._texts: list[str] = []  # Of an output that a schema binds.
        self._calls = Calls(MAX_TOOLS)
        self._reason: FinishReason | None = None
        self.usage: Usage | None = None
        """What the upstream counted, if it did."""
        self.pieces = 0
        """How many pieces of text came: as good a count of tokens as there is without one."""

    def take(self, data: bytes) -> bool:
        """Take an event. Returns whether it is the last.

        Raises:
            RefusedError: it is the upstream's own error.
            Unavailable: `ENGINE_FAILED`; it is nothing that belongs there.
        """
        if data == DONE:
            return True
        chunk = parsed(data)
        if (error := chunk.get("error")) is not None:
            raise RefusedError(refusal_of(error))
        if isinstance(used := chunk.get("usage"), Mapping):
            self.usage = usage(used)
        if isinstance(choices := chunk.get("choices"), list) and choices:
            self._choice(choices[0])
        return False

    def finished(self, used: Usage) -> Finished:
        """The end.

        Raises:
            Unavailable: `ENGINE_FAILED`; there was none, or it is not what was asked for.
        """
        if self._reason is None:
            raise failures.engine_failed("the upstream closed its stream before its end")
        if self._reason == "stop" and self._schema is not None:
            _check(self._schema, "".join(self._texts))
        if self._reason == "length":
            return Finished("length", used)
        calls = self._calls.whole()
        if self._reason == "tool_calls" and not calls:
            raise failures.engine_failed("the upstream ended with tool calls and made none")
        return Finished("tool_calls" if calls else "stop", used, tool_calls=calls)

    def _choice(self, choice: JSON) -> None:
        if not isinstance(choice, Mapping):
            raise failures.engine_failed("the upstream sent a choice that is no object")
        delta = choice.get("delta")
        if isinstance(delta, Mapping):
            self._delta(delta)
        if (reason := choice.get("finish_reason")) is not None:
            self._end(reason)

    def _end(self, reason: JSON) -> None:
        if reason == "content_filter":
            raise failures.engine_failed("the upstream's content filter cut the answer")
        self._reason = self._reason or _REASONS.get(str(reason), "stop")

    def _delta(self, delta: Mapping[str, JSON]) -> None:
        text = delta.get("content") or delta.get("refusal")
        calls = delta.get("tool_calls")
        if (text or calls) and self._reason is not None:
            raise failures.engine_failed("the upstream spoke on after its end")
        if isinstance(text, str):
            self._say(text)
        elif text:
            raise failures.engine_failed("the upstream sent content that is no text")
        for call in calls if isinstance(calls, list) else ():
            self._calls.take(call)

    def _say(self, text: str) -> None:
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode()  # Half a surrogate pair is no text.
        if self._schema is not None:
            if not self._texts and (text := text.lstrip()) and text[0] not in _STARTS:
                raise failures.engine_failed("the upstream does not bind its output by a schema")
            self._texts.append(text)
        if text:
            self.pieces += 1
            if self.pieces > self._most:
                raise failures.engine_failed("the upstream says more than it was asked for")
            self._outbox.put(text)


def parsed(data: bytes, most_parts: int = EVENT_PARTS) -> Mapping[str, JSON]:
    """A JSON object, of about so many values at most: a list of empty lists takes a hundred times
    the time and the memory that a text of its size takes, and nobody else gets a word in meanwhile.

    Raises:
        Unavailable: `ENGINE_FAILED`; it is none, or has more.
    """
    if sum(map(data.count, _BRACKETS)) > most_parts:
        raise failures.engine_failed(f"the upstream sent JSON of more than {most_parts} parts")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise failures.engine_failed("the upstream sent what is no JSON") from None
    if not isinstance(value, dict):
        raise failures.engine_failed("the upstream sent what is no JSON object")
    return value


def usage(used: Mapping[str, JSON]) -> Usage | None:
    """What was counted; None if the prompt or the output was not."""
    prompt, completion = count(used, "prompt_tokens"), count(used, "completion_tokens")
    if prompt is None or completion is None:
        return None
    details = used.get("prompt_tokens_details")
    cached = count(details, "cached_tokens") if isinstance(details, Mapping) else 0
    return Usage(prompt, completion, min(cached or 0, prompt))


def count(members: Mapping[str, JSON], name: str) -> int | None:
    """A number of tokens; None where there is none that can be."""
    value = members.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value < _MOST_TOKENS else None


def _check(schema: ResponseSchema, text: str) -> None:
    try:
        violations: Sequence[object] = schema.violations(json.loads(text))
    except (ValueError, RecursionError):
        raise failures.engine_failed("the upstream's output is no JSON") from None
    if violations:
        raise failures.engine_failed("the upstream's output does not match the schema")
