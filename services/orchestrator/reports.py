"""What a tool tells while it runs, written into the task's log beside the call.

The call never waits for that: what comes gathers while the write before is under way.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from typing import Final

from services.chassis.telling import Logged, Progress, Told
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.task import Call
from services.orchestrator.journal import Journal
from services.orchestrator.ports import LogLost

APART_SECONDS: Final = 0.25  # Between two that say how far it is: the newest counts.
MOST_LOGS: Final = 200  # Of one call.
MOST_BYTES: Final = 2 * 1024  # Of a message.

Spawn = Callable[[Coroutine[None, None, None]], asyncio.Task[None]]
At = tuple[int, int]


class Reports:
    """Of one call. Whoever makes the call closes it."""

    def __init__(
        self, journal: Journal, call: Call, at: At, now: Callable[[], datetime], spawn: Spawn
    ) -> None:
        self._journal = journal
        self._call = call
        self._at = at
        self._now = now
        self._spawn = spawn
        self._waiting: list[ev.ToolProgressed | ev.ToolLogged] = []
        self._has_some = asyncio.Event()
        self._turn = asyncio.Lock()
        self._writing: asyncio.Task[None] | None = None
        self._due = 0.0
        self._logs = 0

    def hear(self, said: Told) -> None:
        """Something to be written down; see `Report`."""
        if isinstance(said, Progress):
            if (progress := said.within(MOST_BYTES)) is None:
                return
            self._waiting = [each for each in self._waiting if isinstance(each, ev.ToolLogged)]
            self._waiting.append(self._progressed(progress))
        elif self._logs < MOST_LOGS:
            self._logs += 1
            self._waiting.append(self._logged(said.within(MOST_BYTES)))
        self._has_some.set()
        if self._writing is None:
            self._writing = self._spawn(self._write())

    async def close(self) -> Sequence[ev.Event]:
        """Write no more. What is not written yet is the caller's to write; but not how far the tool
        was, where that was said just before: it is beyond that."""
        if self._writing is not None:
            try:
                async with self._turn:
                    pass  # What is on its way gets there.
            finally:
                self._writing.cancel()
            await asyncio.wait((self._writing,))
        is_due = asyncio.get_running_loop().time() >= self._due
        return [each for each in self._waiting if is_due or isinstance(each, ev.ToolLogged)]

    async def _write(self) -> None:
        now = asyncio.get_running_loop().time
        try:
            while True:
                await self._has_some.wait()
                if any(isinstance(each, ev.ToolProgressed) for each in self._waiting):
                    await asyncio.sleep(self._due - now())
                    self._due = now() + APART_SECONDS
                async with self._turn:
                    waiting, self._waiting = self._waiting, []
                    self._has_some.clear()
                    await self._journal.append(*waiting)
        except LogLost:
            return  # Whoever writes the call's outcome is told so.

    def _progressed(self, said: Progress) -> ev.ToolProgressed:
        call, told = self._call, (said.done, said.total, said.message)
        return ev.ToolProgressed(
            self._now(), self._at[0], self._at[1], call.call_id, call.tool, *told
        )

    def _logged(self, said: Logged) -> ev.ToolLogged:
        call, told = self._call, (said.level, said.message)
        return ev.ToolLogged(self._now(), self._at[0], self._at[1], call.call_id, call.tool, *told)
