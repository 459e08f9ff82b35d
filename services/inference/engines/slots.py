"""Who may generate now, who waits, and who is turned away."""

import asyncio
from bisect import insort
from datetime import timedelta
from time import perf_counter

from services.chassis.errors import ResourceExhausted
from services.inference.domain.request import Priority


class _Place:
    """One that waits."""

    def __init__(self, priority: Priority) -> None:
        self.priority = priority
        self.is_given: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Slots:
    """So many at once, so many waiting: interactive ones first, then in order of arrival.

    Where there are several slots, the last free one is for somebody who waits for an answer: a
    batch leaves it alone. A full queue turns away whoever comes; but for an interactive one, the
    batch's latest in it goes instead.
    """

    def __init__(self, count: int, *, queue: int, retry_after: timedelta) -> None:
        self._count = count
        self._kept_free = 1 if count > 1 else 0
        self._queue = queue
        self._retry_after = retry_after
        self._places: list[_Place] = []  # In the order in which they get slots.
        self.active = 0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._places)

    async def acquire(self, priority: Priority = Priority.INTERACTIVE) -> float:
        """Take a slot; returns the milliseconds waited for it.

        Raises:
            ResourceExhausted: `ENGINE_OVERLOADED`; the queue is full.
        """
        is_next = not self._places or priority < self._places[0].priority
        if is_next and self._is_free(priority):
            self.active += 1
            return 0.0
        place = self._queued(priority)
        start = perf_counter()
        try:
            await place.is_given
        except asyncio.CancelledError:
            if place in self._places:
                self._places.remove(place)
            elif not place.is_given.cancelled() and place.is_given.exception() is None:
                self.release()  # It was given one just now.
            raise
        return 1e3 * (perf_counter() - start)

    def release(self) -> None:
        """Give the slot back."""
        self.active -= 1
        self._give()

    def _is_free(self, priority: Priority) -> bool:
        kept_free = self._kept_free if priority > Priority.INTERACTIVE else 0
        return self._count - self.active > kept_free

    def _queued(self, priority: Priority) -> _Place:
        if len(self._places) >= self._queue:
            self._make_room(priority)
        place = _Place(priority)
        insort(self._places, place, key=lambda each: each.priority)
        return place

    def _make_room(self, priority: Priority) -> None:
        if not self._places or self._places[-1].priority <= priority:
            raise self._overloaded()
        place = self._places.pop()
        if not place.is_given.done():  # As in `_give`.
            place.is_given.set_exception(self._overloaded())

    def _give(self) -> None:
        while self._places and self._is_free(self._places[0].priority):
            place = self._places.pop(0)
            if not place.is_given.done():  # Else its caller has just gone away.
                self.active += 1
                place.is_given.set_result(None)

    def _overloaded(self) -> ResourceExhausted:
        error = ResourceExhausted(
            "ENGINE_OVERLOADED",
            f"all {self._count} slots are busy and {self._queue} requests wait: try later",
            slots=str(self._count),
            queue=str(self._queue),
        )
        error.after(self._retry_after)
        return error
