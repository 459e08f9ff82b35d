"""An engine without a model, for tests and load: says what it is told, and plays scripts."""

import asyncio
import json
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from services.inference.domain.generation import Finished, FinishReason, Usage
from services.inference.domain.model import Model
from services.inference.domain.request import JSON, Message, Request, ResponseSchema
from services.inference.engines import failures
from services.inference.engines.instance import NothingMatchesError, merge, minimal
from services.inference.engines.script import (
    MAX_TOKENS,
    Counted,
    Script,
    Step,
    last_user_text,
    loads,
    parse,
    split,
)
from services.inference.engines.slots import Slots

NAME: Final = "echo"
CONTEXT_TOKENS: Final = 32_768  # Bounds the prompt. What is said is bounded by max_tokens alone.
_GARBAGE: Final = "this is {not what was asked for"
_BATCH: Final = 1_024
_RETRY_AFTER: Final = timedelta(milliseconds=100)


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast to speak."""

    first_delay: timedelta = timedelta(0)
    """Before the first token."""
    delay: timedelta = timedelta(0)
    """Between one token and the next."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What is about to be said."""

    step: Step
    tokens: Sequence[str]
    reason: FinishReason


class EchoEngine:
    """Deterministic. Tokens are words with the space after them."""

    def __init__(
        self, *, speed: Speed = Speed(), tokens: int | None = None, slots: int = 256, queue: int = 0
    ) -> None:
        self._delay = speed.delay.total_seconds()
        self._first_delay = speed.first_delay.total_seconds()
        self._tokens = tokens
        self._slots = Slots(slots, queue=queue, retry_after=_RETRY_AFTER)
        self._model = Model(NAME, "1", NAME, CONTEXT_TOKENS, MAX_TOKENS, slots)

    @property
    def active(self) -> int:
        """Slots that are busy now."""
        return self._slots.active

    def models(self) -> Sequence[Model]:
        """The one model."""
        return (self._model,)

    async def generate(
        self, request: Request, *, pace: timedelta
    ) -> AsyncGenerator[str | Finished, None]:
        """As the port says."""
        prompt_tokens = _count(request.messages)
        if prompt_tokens >= CONTEXT_TOKENS:
            raise failures.window_exceeded(prompt_tokens, CONTEXT_TOKENS)
        turn = plan(request, self._tokens)
        queue_ms = await self._slots.acquire()
        try:
            if turn.step.sleep_ms:
                await asyncio.sleep(turn.step.sleep_ms / 1e3)
            if "fail" in turn.step.flags:
                raise failures.engine_failed("the script says so")
            speaking = self._slowly(turn.tokens, pace) if self._slow else _at_once(turn.tokens)
            async with aclosing(speaking) as pieces:
                async for piece in pieces:
                    yield piece
            yield Finished(turn.reason, Usage(prompt_tokens, len(turn.tokens)), queue_ms)
        finally:
            self._slots.release()

    async def count_tokens(self, model: str, messages: Sequence[Message]) -> int:
        """The words of all messages."""
        return _count(messages)

    @property
    def _slow(self) -> bool:
        return self._delay > 0 or self._first_delay > 0

    async def _slowly(self, tokens: Sequence[str], pace: timedelta) -> AsyncGenerator[str, None]:
        """Each token falls due at its own time; waking up for each would cost more than it."""
        now = asyncio.get_running_loop().time
        start, apart, count = now() + self._first_delay, pace.total_seconds(), len(tokens)
        said, last = 0, -math.inf
        while said < count:
            due = max(start + self._delay * said, last + apart)
            end = start + self._delay * (count - 1)
            await asyncio.sleep(min(due, end) - now())
            last = now()
            ready = int((last - start) / self._delay) + 1 if self._delay else count
            upto = min(count, max(ready, said + 1))
            yield "".join(tokens[said:upto])
            said = upto


async def _at_once(tokens: Sequence[str]) -> AsyncGenerator[str, None]:
    if tokens:
        yield tokens[0]
    for start in range(1, len(tokens), _BATCH):
        yield "".join(tokens[start : start + _BATCH])
        await asyncio.sleep(0)  # A long answer must not keep the loop from the others.


def _count(messages: Sequence[Message]) -> int:
    return sum(len(message.content.split()) + 1 for message in messages)


def plan(request: Request, count: int | None = None) -> Turn:
    """What the engine will say. `count` tokens of text, if given, whatever the script says."""
    script = parse(last_user_text(request.messages))
    step = script.step(request.messages)
    if request.schema is None or not _offers_calls(request.schema.document):
        step = script.answer
    wanted = count if count is not None else script.tokens
    tokens: Sequence[str] = split(script.text) if wanted is None else Counted(wanted)
    if "garbage" in step.flags:
        tokens = split(_GARBAGE)
    elif request.schema is not None:
        tokens = split(_bound_text(request.schema, script, step, tokens))
    return _limited(step, tokens, request)


def _limited(step: Step, tokens: Sequence[str], request: Request) -> Turn:
    if request.sampling.stop:
        text = "".join(tokens)
        ends = [index for stop in request.sampling.stop if (index := text.find(stop)) >= 0]
        tokens = split(text[: min(ends)]) if ends else tokens
    limit = request.sampling.max_tokens or MAX_TOKENS
    if "cut" in step.flags:
        limit = min(limit, len(tokens) // 2)
    if len(tokens) <= limit:
        return Turn(step, tokens, "stop")
    return Turn(step, tokens[:limit], "length")


def _bound_text(schema: ResponseSchema, script: Script, step: Step, tokens: Sequence[str]) -> str:
    try:
        return json.dumps(_document(schema, script, step, "".join(tokens)), ensure_ascii=False)
    except NothingMatchesError as error:
        raise failures.schema_refused(str(error)) from None


def _document(schema: ResponseSchema, script: Script, step: Step, text: str) -> JSON:
    """A value that matches the schema; where the user wrote JSON, that JSON if it can be."""
    root = schema.document
    shape = _shape(root, calls=bool(step.calls))
    properties = shape.get("properties")
    known = properties if isinstance(properties, Mapping) else {}
    hints: dict[str, JSON] = {"thought": step.thought}
    if step.calls and "tool_calls" in known:
        return _filled(shape, root, {**hints, "tool_calls": step.calls})
    if _is_text(known.get("answer")):
        return _filled(shape, root, {**hints, "answer": text})
    try:
        own = loads(script.text)
    except ValueError:
        return _filled(shape, root, hints)
    written = _filled(shape, root, {**hints, "answer": own}) if "answer" in known else own
    if not schema.violations(written) or ("answer" in known and isinstance(own, dict | list)):
        return written
    return _filled(shape, root, hints)


def _filled(shape: Mapping[str, JSON], root: Mapping[str, JSON], hints: Mapping[str, JSON]) -> JSON:
    """The minimal value, with the hints where the shape has properties of their names."""
    properties = shape.get("properties")
    if not isinstance(properties, Mapping):
        return minimal(shape, root)
    fixed = dict(properties)
    for name, value in hints.items():
        if name in fixed:
            fixed[name] = {"const": _cut(value, fixed[name])}
    return minimal({**shape, "properties": fixed}, root)


def _cut(value: JSON, schema: JSON) -> JSON:
    most = schema.get("maxLength") if isinstance(schema, Mapping) else None
    return value[: int(most)] if isinstance(value, str) and isinstance(most, int | float) else value


def _is_text(schema: JSON) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "string"


def _shape(root: Mapping[str, JSON], *, calls: bool) -> Mapping[str, JSON]:
    """The option of the schema to speak in: the one with tool calls, or one without."""
    options = _options(root)
    fitting = (each for each in options if _has_calls(each) == calls)
    return next(fitting, options[0] if options else root)


def _options(root: Mapping[str, JSON]) -> list[Mapping[str, JSON]]:
    found = root.get("anyOf") or root.get("oneOf")
    if not isinstance(found, list):
        return [merge(root, root)]
    return [merge(option, root) for option in found if isinstance(option, Mapping)]


def _has_calls(shape: Mapping[str, JSON]) -> bool:
    properties = shape.get("properties")
    return isinstance(properties, Mapping) and "tool_calls" in properties


def _offers_calls(root: Mapping[str, JSON]) -> bool:
    return any(map(_has_calls, _options(root)))
