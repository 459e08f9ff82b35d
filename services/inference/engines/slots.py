"""Who may generate now, who waits, and who is turned away."""

import asyncio
from datetime import timedelta
from time import perf_counter

from services.chassis.errors import ResourceExhausted


class Slots:
    """So many at once, so many waiting in order of arrival; everyone else is refused."""

    def __init__(self, count: int, *, queue: int, retry_after: timedelta) -> None:
        self._free = asyncio.Semaphore(count)
        self._count = count
        self._queue = queue
        self._retry_after = retry_after
        self.waiting = 0
        self.active = 0

    async def acquire(self) -> float:
        """Take a slot; returns the milliseconds waited for it.

        Raises:
            ResourceExhausted: `ENGINE_OVERLOADED`; the queue is full.
        """
        if self._free.locked() and self.waiting >= self._queue:
            raise ResourceExhausted(
                "ENGINE_OVERLOADED",
                f"all {self._count} slots are busy and {self._queue} requests wait: try later",
                slots=str(self._count),
                queue=str(self._queue),
            ).after(self._retry_after)
        start = perf_counter()
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        self.active += 1
        return 1e3 * (perf_counter() - start)

    def release(self) -> None:
        """Give the slot back."""
        self.active -= 1
        self._free.release()
