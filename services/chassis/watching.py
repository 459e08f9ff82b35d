"""Following a log: what is stored, then what is published, in order and without gaps."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from services.chassis.eventlog.port import StoredEvent
from services.chassis.hotstore.port import Entry, HotStore, Subscription

PAGE: Final = 256
_FIRST_PAGE: Final = 16
_PAGE_BYTES: Final = 512 * 1024  # About: of what a watcher holds that does not read on.
# How long a watcher trusts that it is told of what happens: at first, at most, and when it has just
# seen what it was not told, as where replicas share an event store and no hot store.
_FIRST_LOOK: Final = 0.02
_LAST_LOOK: Final = 1.0
_NEXT_LOOK: Final = 0.1


@dataclass(frozen=True, slots=True)
class Log:
    """A log that can be followed."""

    topic: str
    """Where its events are published in the hot store."""
    read: Callable[[int, int], Awaitable[Sequence[StoredEvent]]]
    """Events after a sequence, at most so many."""
    last: Callable[[], Awaitable[tuple[int, bool]]]
    """The sequence of the last event, and whether nothing comes after it."""
    closes: Callable[[bytes], bool]
    """Whether this event is the last one."""


async def watched(hot: HotStore, log: Log, *, after: int) -> AsyncGenerator[bytes, None]:
    """Events after a sequence: first from the store, then as they are published.

    What the hot store loses is read from the event store, at the watcher's own pace.
    """
    async with hot.subscribe(log.topic) as subscription:
        pages, ear = _Pages(log.read), Ear(subscription)
        entries = await pages.read(after)
        last, is_end = (0, False) if entries else await log.last()
        if is_end and last <= after:
            return
        is_ahead, is_closed = 0 < last < after, False
        while True:
            for entry in entries:
                yield entry.body
                after = entry.sequence
            is_closed = log.closes(entries[-1].body) if entries else is_closed
            if is_closed and not pages.has_more:  # A log may go on after what closed it.
                return
            entries = []
            if not pages.has_more:
                heard = await ear.next()
                entries = [entry for entry in heard if entry.sequence > after]
                if is_ahead and not entries and await _ends_before(log, after, heard):
                    return
            if not entries or entries[0].sequence != after + 1:
                entries = await pages.read(after)
                ear.found(entries)


async def _ends_before(log: Log, after: int, heard: Sequence[Entry]) -> bool:
    """Whether a log ended, for a watcher that waits for what then never comes."""
    if heard:
        return log.closes(heard[-1].body)
    last, is_end = await log.last()
    return is_end and last <= after


class _Pages:
    """Reads a log by pages: more at once where events are small, so that a page is never large."""

    def __init__(self, read: Callable[[int, int], Awaitable[Sequence[StoredEvent]]]) -> None:
        self._read = read
        self._limit = _FIRST_PAGE
        self.has_more = False
        """Whether there may be more after the latest page."""

    async def read(self, after: int) -> list[Entry]:
        """The next page."""
        page = await self._read(after, self._limit)
        self.has_more = len(page) == self._limit
        if page:
            average = sum(len(event.body) for event in page) / len(page)
            self._limit = max(1, min(PAGE, int(_PAGE_BYTES / max(average, 1))))
        return [Entry(event.sequence, event.body) for event in page]


class Ear:
    """Hears what is published, or nothing after a while: then it is time to look for oneself, soon
    at first, and later each time that there was nothing to see."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._patience = _FIRST_LOOK
        self._is_looking = False

    async def next(self) -> Sequence[Entry]:
        """What was published."""
        self._is_looking = False
        try:
            async with asyncio.timeout(self._patience):
                return await self._subscription.next()
        except TimeoutError:
            self._is_looking = True
            self._patience = min(2 * self._patience, _LAST_LOOK)
            return ()

    def found(self, entries: Sequence[Entry]) -> None:
        """What was read instead."""
        if self._is_looking and entries:
            self._patience = min(self._patience, _NEXT_LOOK)
