"""One turn of the model: asks, reads while it comes, and passes the text on in merged pieces."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from time import perf_counter
from typing import Final

from services.orchestrator.domain.events import Turn
from services.orchestrator.domain.reader import Reader
from services.orchestrator.domain.step import Outcome, Plan
from services.orchestrator.ports import Generation, LogLost, Speakers

MERGE_SECONDS: Final = 0.02
MAX_OUTPUT_CHARACTERS: Final = 512 * 1024  # Of one turn: it has to fit into one message.

Spawn = Callable[[Coroutine[None, None, None]], asyncio.Task[None]]
Deliver = Callable[[str], Awaitable[None]]


class Cut(Exception):
    """The output ended at its token limit, or was longer than any output may be."""


class Merger:
    """Passes text on: the first piece at once, then what has gathered, 20 ms apart.

    Text that waits is passed on by a timer, so that a slow model does not hold it back. Deliveries
    never overlap.
    """

    def __init__(self, spawn: Spawn, deliver: Deliver) -> None:
        self._spawn = spawn
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._waiting: list[str] = []
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._sending: asyncio.Task[None] | None = None
        self._fault: LogLost | None = None

    async def add(self, text: str) -> None:
        """More text.

        Raises:
            LogLost: a delivery failed, now or by the timer before.
        """
        self._waiting.append(text)
        if self._timer is not None:
            return
        if (now := self._loop.time()) < self._due:
            self._timer = self._loop.call_at(self._due, self._later)
            return
        self._due = now + MERGE_SECONDS
        await self._deliver(await self.take())
        if self._fault is not None:
            raise self._fault

    def hold(self, text: str) -> None:
        """Text for the next `take`."""
        self._waiting.append(text)

    async def take(self) -> str:
        """The text that waits, once what is being delivered is; it is then the caller's."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sending is not None:
            await asyncio.wait((self._sending,))
            self._sending = None
        text = "".join(self._waiting)
        self._waiting.clear()
        return text

    def close(self) -> None:
        """Pass nothing on any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _later(self) -> None:
        self._timer = None
        self._due = self._loop.time() + MERGE_SECONDS
        if self._sending is None or self._sending.done():
            text = "".join(self._waiting)
            self._waiting.clear()
            self._sending = self._spawn(self._send(text))
        else:
            self._timer = self._loop.call_at(self._due, self._later)

    async def _send(self, text: str) -> None:
        try:
            await self._deliver(text)
        except LogLost as lost:
            self._fault = lost


class Conversing:
    """One attempt at a step, as its run sees it: what was heard so far, and what it took."""

    def __init__(
        self, at: tuple[int, int], plan: Plan, spawn: Spawn, deliver: Deliver, think: Deliver
    ) -> None:
        self.at = at
        self.turn = Turn()
        self.beside = Turn()
        self.began_at = perf_counter()
        self.first_token_at: float | None = None
        self._reader = Reader(plan)
        self._merger = Merger(spawn, deliver)
        self._think = think
        self._thought = ""
        self._keep: Callable[[], None] | None = None
        self.asked: Generation | None = None

    async def listen(self, models: Speakers, generation: Generation, *, timeout: float) -> Outcome:
        """Ask the model and hear it out.

        Raises:
            Malformed: the output is not what the plan asks for.
            Cut: it ended at its token limit.
            ServiceError: what the inference service says.
        """
        self.asked, reason = generation, ""
        room = MAX_OUTPUT_CHARACTERS - len(generation.prefix)
        async with aclosing(models.generate(generation, timeout=timeout)) as pieces:
            async for piece in pieces:
                if (room := room - len(piece.text)) < 0:
                    raise Cut
                if piece.is_cached != self.turn.is_cached:
                    self.turn = replace(self.turn, is_cached=piece.is_cached)
                if piece.text:
                    await self._hear(piece.text, is_last=piece.turn is not None)
                if piece.turn is not None:
                    self.turn, reason = piece.turn, piece.finish_reason
                    self._keep = piece.keep
                elif self._reader.is_beyond:
                    break
        if reason == "length" and not self._reader.has_ended:
            raise Cut
        outcome = self._reader.finish()
        self._merger.hold(self._reader.rest())
        return outcome

    @property
    def heard(self) -> str:
        """The model's output so far, as it came."""
        return self._reader.seen

    def keep(self) -> None:
        """What was said is what was asked for: it may be the answer to the same question again."""
        if self._keep is not None:
            self._keep()

    def unthought(self) -> str:
        """A thought that was heard and is not passed on yet; it is then the caller's to pass on."""
        thought, self._thought = self._thought, ""
        return thought

    async def unsaid(self) -> str:
        """Text that was heard and is not passed on yet; it is then the caller's to pass on."""
        return await self._merger.take()

    def close(self) -> None:
        """Pass nothing on any more."""
        self._merger.close()

    async def _hear(self, text: str, *, is_last: bool) -> None:
        """What comes with the end waits for it: all of it is one commit then."""
        if self.first_token_at is None:
            self.first_token_at = perf_counter()
        had_thought = self._reader.thought is not None
        answer = self._reader.feed(text)
        if self._reader.thought and not had_thought:
            self._thought = self._reader.thought
        if is_last:
            self._merger.hold(answer)
            return
        if thought := self.unthought():
            await self._think(thought)
        if answer:
            await self._merger.add(answer)
