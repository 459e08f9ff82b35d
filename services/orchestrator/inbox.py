"""What a run was told and has not dealt with yet."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from services.chassis.eventlog.port import Letter
from services.orchestrator.domain import letters
from services.orchestrator.domain.letters import Pause, Say, Word

log = logging.getLogger(__name__)


class Inbox:
    """Letters in the order they came, each once. `interrupt` is called for those that cannot wait
    for the end of the model's turn."""

    def __init__(self, interrupt: Callable[[], None]) -> None:
        self._interrupt = interrupt
        self._seen: set[int] = set()
        self._waiting: list[tuple[int, Word]] = []
        self._has_some = asyncio.Event()

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
        if isinstance(word, Say | Pause):
            self._interrupt()
        return word

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to deal with."""
        return not self._waiting

    def close(self) -> None:
        """Interrupt nothing any more, and hold nobody who would be."""
        self._interrupt = _nothing

    def take(self) -> Sequence[tuple[int, Word]]:
        """All that there is, by number; they are then the caller's to deal with."""
        taken, self._waiting = self._waiting, []
        self._has_some.clear()
        return taken

    async def wait(self) -> None:
        """Until there is something."""
        await self._has_some.wait()


def _nothing() -> None:
    """Nobody is there to be interrupted."""
