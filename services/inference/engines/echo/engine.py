"""An engine without a model, for tests and load: says what it is told, and plays scripts."""

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from services.inference.domain.embedding import Embedded, Embedding
from services.inference.domain.generation import Finished, Usage
from services.inference.domain.model import GENERATING, Capability, Model
from services.inference.domain.request import Message, Priority, Request
from services.inference.domain.scoring import Scored, Scoring
from services.inference.engines import failures
from services.inference.engines.echo.play import plan
from services.inference.engines.echo.readings import hashed, likely, units
from services.inference.engines.echo.script import MAX_TOKENS, Step, last_user_text, parse
from services.inference.engines.slots import Slots

NAME: Final = "echo"
CONTEXT_TOKENS: Final = 32_768  # Bounds the prompt. What is said is bounded by max_tokens alone.
_BATCH: Final = 1_024
_RETRY_AFTER: Final = timedelta(milliseconds=100)


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast to speak."""

    first_delay: timedelta = timedelta(0)
    """Before the first token."""
    delay: timedelta = timedelta(0)
    """Between one token and the next."""


class EchoEngine:
    """Deterministic. Tokens are words with the space after them."""

    def __init__(
        self, *, speed: Speed = Speed(), tokens: int | None = None, slots: int = 256, queue: int = 0
    ) -> None:
        self._delay = speed.delay.total_seconds()
        self._first_delay = speed.first_delay.total_seconds()
        self._tokens = tokens
        self._slots = Slots(slots, queue=queue, retry_after=_RETRY_AFTER)
        able = GENERATING | {Capability.EMBED}
        self._model = Model(NAME, "1", NAME, CONTEXT_TOKENS, MAX_TOKENS, slots, able)

    @property
    def active(self) -> int:
        """Slots that are busy now."""
        return self._slots.active

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot now."""
        return self._slots.waiting

    async def load(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to let go of."""

    async def check(self) -> None:
        """Nothing of it can die."""

    def models(self) -> Sequence[Model]:
        """The one model."""
        return (self._model,)

    async def generate(
        self, request: Request, *, pace: timedelta
    ) -> AsyncGenerator[str | Finished, None]:
        """See `Engine`."""
        prompt_tokens = _count(request.messages, request.prefix)
        if prompt_tokens >= CONTEXT_TOKENS:
            raise failures.window_exceeded(prompt_tokens, CONTEXT_TOKENS)
        turn = plan(request, self._tokens)
        queue_ms = await self._slots.acquire(request.priority)
        try:
            await _begun(turn.step)
            speaking = self._slowly(turn.tokens, pace) if self._slow else _at_once(turn.tokens)
            text = ""  # The last piece goes out with the end.
            async with aclosing(speaking) as pieces:
                async for text, is_last in pieces:
                    if not is_last:
                        yield text
            usage = Usage(prompt_tokens, len(turn.tokens))
            yield Finished(turn.reason, usage, queue_ms, text)
        finally:
            self._slots.release()

    async def count_tokens(self, model: str, messages: Sequence[Message], prefix: str = "") -> int:
        """The words of all messages, and of the prefix."""
        return _count(messages, prefix)

    async def score(self, scoring: Scoring) -> Scored:
        """A label is the likelier, the more often the user's last message has it."""
        prompt_tokens = _count(scoring.messages, "")
        if prompt_tokens >= CONTEXT_TOKENS:
            raise failures.window_exceeded(prompt_tokens, CONTEXT_TOKENS)
        text = last_user_text(scoring.messages)
        queue_ms = await self._read([text], scoring.priority)
        usage = Usage(prompt_tokens, sum(len(units(label)) for label in scoring.labels))
        return Scored(likely(text, scoring.labels), usage, queue_ms)

    async def embed(self, embedding: Embedding) -> Embedded:
        """Texts with words in common have vectors near each other."""
        sizes = [len(units(text)) for text in embedding.inputs]
        for index, size in enumerate(sizes):
            if size > CONTEXT_TOKENS:
                raise failures.text_exceeds(f"inputs[{index}]", size, CONTEXT_TOKENS)
        queue_ms = await self._read(embedding.inputs, embedding.priority)
        vectors = []
        for text in embedding.inputs:
            vectors.append(hashed(text))
            await asyncio.sleep(0)  # The loop is others' as well.
        return Embedded(tuple(vectors), sum(sizes), queue_ms)

    async def _read(self, texts: Sequence[str], priority: Priority) -> float:
        """Take a slot for as long as the scripts in the texts say; returns the wait for it."""
        queue_ms = await self._slots.acquire(priority)
        try:
            for text in texts:
                await _begun(parse(text).answer)
        finally:
            self._slots.release()
        return queue_ms

    @property
    def _slow(self) -> bool:
        return self._delay > 0 or self._first_delay > 0

    async def _slowly(
        self, tokens: Sequence[str], pace: timedelta
    ) -> AsyncGenerator[tuple[str, bool], None]:
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
            yield "".join(tokens[said:upto]), upto == count
            said = upto


async def _begun(step: Step) -> None:
    """What stands before what a step says: to sleep, to fail."""
    if step.sleep_ms:
        await asyncio.sleep(step.sleep_ms / 1e3)
    if "fail" in step.flags:
        raise failures.engine_failed("the script says so")


async def _at_once(tokens: Sequence[str]) -> AsyncGenerator[tuple[str, bool], None]:
    for start in range(0, len(tokens), _BATCH):
        is_last = start + _BATCH >= len(tokens)
        yield "".join(tokens[start : start + _BATCH]), is_last
        if not is_last:
            await asyncio.sleep(0)  # A long answer must not keep the loop from the others.


def _count(messages: Sequence[Message], prefix: str) -> int:
    return sum(len(message.content.split()) + 1 for message in messages) + len(prefix.split())
