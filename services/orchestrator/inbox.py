"""What a run was told and has not dealt with yet."""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Final

from services.chassis.eventlog.port import Letter
from services.orchestrator.domain import letters
from services.orchestrator.domain.letters import Pause, Say, Word

log = logging.getLogger(__name__)

URGENT: Final = Say | Pause
"""What cannot wait for the end of the model's turn."""


class Interrupted(Exception):
    """The model's turn was ended because somebody has something to say."""


class Inbox:
    """Letters in the order they came, each once."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._waiting: list[tuple[int, Word]] = []
        self._has_some = asyncio.Event()
        self._turn: asyncio.Timeout | None = None

    @property
    def known(self) -> Collection[int]:
        """The numbers of the letters that have come, the latest of them."""
        return self._seen

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to deal with."""
        return not self._waiting

    def put(self, letter: Letter) -> Word | None:
        """A letter, if it is new: what it says."""
        if letter.number in self._seen:
            return None
        self._seen.add(letter.number)
        try:
            word = letters.read(letter.kind, letter.body.decode())
        except (KeyError, TypeError, ValueError):  # A newer release wrote it, and can read it.
            log.warning("letter not understood", extra={"task_id": letter.stream_id})
            return None
        self._waiting.append((letter.number, word))
        self._has_some.set()
        if isinstance(word, URGENT):
            expire(self._turn)
        return word

    def take(self) -> Sequence[tuple[int, Word]]:
        """All that there is, by number; they are then the caller's to deal with."""
        taken, self._waiting = self._waiting, []
        self._has_some.clear()
        return taken

    async def wait(self) -> None:
        """Until there is something."""
        await self._has_some.wait()

    @asynccontextmanager
    async def interruptible(self) -> AsyncIterator[None]:
        """A turn of the model, which ends when something urgent comes, with `Interrupted`."""
        if not self.is_empty:
            raise Interrupted
        try:
            async with asyncio.timeout(None) as turn:
                self._turn = turn
                yield
        except TimeoutError:
            if turn.expired():
                raise Interrupted from None
            raise
        finally:
            self._turn = None


def expire(scope: asyncio.Timeout | None) -> None:
    """End a scope now, if it is open."""
    if scope is not None and not scope.expired():
        scope.reschedule(asyncio.get_running_loop().time())
