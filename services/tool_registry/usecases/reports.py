"""What a running tool tells, for one who may read it slowly: bounded, and the tool never waits."""

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Final

from services.chassis.telling import Logged, Progress, Told

GAP: Final = 0.1
"""Seconds between two reports of progress at least."""
MAX_LOGS: Final = 100
MAX_LOG_BYTES: Final = 4 * 1024


class Merged:
    """What is yet to be passed on: the newest progress, and logs in their order. Not more than so
    many logs a call are kept; how many were not is said in the end. `now` is in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._progress: Progress | None = None
        self._done = -math.inf
        self._next = -math.inf
        self._logs: deque[Logged] = deque()
        self._logged = 0

    def put(self, told: Told) -> None:
        """Keep it, in bounds. What is none, and progress that goes back, is dropped."""
        if isinstance(told, Logged):
            self._logged += 1
            if self._logged <= MAX_LOGS:
                self._logs.append(told.within(MAX_LOG_BYTES))
        elif isinstance(told, Progress):
            progress = told.within(MAX_LOG_BYTES)
            if progress is not None and progress.done > self._done:
                self._progress, self._done = progress, progress.done

    def due(self) -> Iterator[Told]:
        """What can be passed on now; it is forgotten."""
        while self._logs:
            yield self._logs.popleft()
        if self._progress is not None and self.wait() == 0:
            progress, self._progress = self._progress, None
            self._next = self._now() + GAP
            yield progress

    def rest(self) -> Iterator[Told]:
        """All that is left, when nothing more will come."""
        self._next = -math.inf
        yield from self.due()
        if (dropped := self._logged - MAX_LOGS) > 0:
            yield Logged("warning", f"{dropped} more messages of the tool were dropped")

    def wait(self) -> float | None:
        """In how many seconds there is something due; None: not before something is put."""
        if self._logs:
            return 0.0
        return max(self._next - self._now(), 0.0) if self._progress is not None else None


class Reports:
    """Takes what a tool tells while it runs, and passes it on."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._merged = Merged(self._loop.time)
        self._changed = asyncio.Event()
        self._is_over = False

    def take(self, told: Told) -> None:
        """See `Report`."""
        if not self._is_over:
            self._merged.put(told)
            self._changed.set()

    def end(self, _: object = None) -> None:
        """Nothing more comes."""
        self._is_over = True
        self._changed.set()

    async def passed_on(self) -> AsyncGenerator[Told, None]:
        """What is told, until the end."""
        while not self._is_over:
            for told in self._merged.due():
                yield told
            await self._change()
        for told in self._merged.rest():
            yield told

    async def _change(self) -> None:
        """Wait until there may be something due."""
        timer = None
        if (seconds := self._merged.wait()) is not None:
            timer = self._loop.call_later(seconds, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            if timer is not None:
                timer.cancel()
        self._changed.clear()
