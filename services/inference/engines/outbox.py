"""Text from a thread that produces to the loop that sends, merged on the way.

Every token costs the thread one append. The loop is woken only when it waits for text: for the
first piece, for one after a pause, and for the end; between two pieces it sleeps through.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from datetime import timedelta
from threading import get_ident
from typing import Final

from services.chassis.errors import ServiceError
from services.inference.domain.generation import Finished

_APART_PER_STREAM: Final = 0.01
_MOST_APART: Final = 0.1


def _alone() -> int:
    return 1


class Outbox:
    """One generation's text. A thread, or a task of the same loop, puts; a coroutine takes.

    A message costs about 0.1 ms of CPU, however little text it carries. So the more streams there
    are, the more each message carries: the process sends a hundred messages a second to up to ten
    streams, and ten to each where there are more.
    """

    def __init__(self, streams: Callable[[], int] = _alone) -> None:
        """`streams` says how many there are now, this one included."""
        self._streams = streams
        self._loop = asyncio.get_running_loop()
        self._home = get_ident()
        self._texts: deque[str] = deque()  # Bounded by the generation's token limit.
        self._outcome: Finished | ServiceError | None = None
        self._wants_text = False
        self._waiter: asyncio.Future[None] | None = None
        self.is_closed = False
        """Nobody takes any more: stop producing."""

    def put(self, text: str) -> None:
        """Add text. Called by whoever produces."""
        self._texts.append(text)
        if self._wants_text:
            self._wants_text = False
            self._wake_from_anywhere()

    def end(self, outcome: Finished | ServiceError) -> None:
        """Say how it ended. Called by whoever produces, once, last."""
        self._outcome = outcome
        self._wake_from_anywhere()

    async def pieces(self, pace: timedelta) -> AsyncGenerator[str | Finished, None]:
        """The text, merged as the engine port promises, then the end.

        Raises:
            ServiceError: the outcome, if it is one.
        """
        try:
            while True:
                await self._until_text()
                outcome, text = self._outcome, self._take()
                if isinstance(outcome, Finished):
                    yield replace(outcome, text=text)
                    return
                if text:
                    yield text
                if outcome is not None:
                    raise outcome
                await self._until_end(self._apart(pace.total_seconds()))
        finally:
            self.is_closed = True

    def _apart(self, pace: float) -> float:
        """Seconds until the next piece. Who wants all pieces gets them."""
        return pace and max(pace, min(_APART_PER_STREAM * self._streams(), _MOST_APART))

    def _take(self) -> str:
        # Not until it is empty: the thread may be adding all the while.
        return "".join([self._texts.popleft() for _ in range(len(self._texts))])

    async def _until_text(self) -> None:
        # The order matters: the thread adds before it looks, and this looks after it has asked.
        self._wants_text = True
        while not self._texts and self._outcome is None:
            await self._woken()
        self._wants_text = False

    async def _until_end(self, seconds: float) -> None:
        if self._outcome is not None or seconds <= 0:
            return
        timer = self._loop.call_later(seconds, self._wake)
        try:
            await self._woken()
        finally:
            timer.cancel()

    async def _woken(self) -> None:
        self._waiter = self._loop.create_future()
        await self._waiter

    def _wake_from_anywhere(self) -> None:
        """To wake a loop from another thread takes system calls, and a turn of the loop more."""
        if get_ident() == self._home:
            self._wake()
        else:
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
