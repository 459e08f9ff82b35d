"""A hot store in this process's memory: for one process, or for a suite that shares nothing."""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from services.chassis.hotstore.port import Entry

_BACKLOG: Final = 256
_BACKLOG_BYTES: Final = 1024 * 1024
_VALUE_BYTES: Final = 200  # What a value takes beside its bytes, about.


class MemorySubscription:
    """Keeps the newest entries until `next` takes them; older ones are missed."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._size_bytes = 0
        self._has_entries = asyncio.Event()

    def offer(self, entries: Sequence[Entry]) -> None:
        """Hand entries over without waiting."""
        for entry in entries:
            self._entries.append(entry)
            self._size_bytes += len(entry.body)
            if len(self._entries) > _BACKLOG or self._size_bytes > _BACKLOG_BYTES:
                self._trim()
        if self._entries:
            self._has_entries.set()

    async def next(self) -> Sequence[Entry]:
        """See `Subscription`."""
        await self._has_entries.wait()
        self._has_entries.clear()
        entries = tuple(self._entries)
        self._entries.clear()
        self._size_bytes = 0
        return entries

    def _trim(self) -> None:
        """The newest one stays, however large: it says that there is something to see."""
        entries = self._entries
        while len(entries) > 1 and (len(entries) > _BACKLOG or self._size_bytes > _BACKLOG_BYTES):
            self._size_bytes -= len(entries.popleft().body)


class MemoryHotStore:
    """Values and counters that fit into `max_bytes`; beyond, the least recently used are forgotten.

    A topic exists while someone is subscribed to it.
    """

    def __init__(
        self, max_bytes: int = 64 * 1024 * 1024, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_bytes = max_bytes
        self._now = now
        self._size_bytes = 0
        self._values: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._topics: dict[str, list[MemorySubscription]] = {}

    async def publish(self, topic: str, entries: Sequence[Entry]) -> None:
        """See `HotStore`."""
        for subscription in self._topics.get(topic, ()):
            subscription.offer(entries)

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncIterator[MemorySubscription]:
        """See `HotStore`."""
        subscription = MemorySubscription()
        subscribers = self._topics.setdefault(topic, [])
        subscribers.append(subscription)
        try:
            yield subscription
        finally:
            subscribers.remove(subscription)
            if not subscribers:
                del self._topics[topic]

    async def get(self, key: str) -> bytes | None:
        """See `HotStore`."""
        item = self._live(key)
        return item[1] if item else None

    async def set(self, key: str, value: bytes, *, ttl: timedelta) -> None:
        """See `HotStore`."""
        self._put(key, value, self._now() + ttl.total_seconds())

    async def delete(self, key: str) -> None:
        """See `HotStore`."""
        self._forget(key)

    async def add(self, key: str, amount: int, *, ttl: timedelta) -> int:
        """See `HotStore`."""
        expires, value = self._live(key) or (self._now() + ttl.total_seconds(), b"0")
        total = int(value) + amount
        self._put(key, b"%d" % total, expires)
        return total

    def _live(self, key: str) -> tuple[float, bytes] | None:
        item = self._values.get(key)
        if item is None:
            return None
        if item[0] <= self._now():
            self._forget(key)
            return None
        self._values.move_to_end(key)
        return item

    def _put(self, key: str, value: bytes, expires: float) -> None:
        self._forget(key)
        self._values[key] = (expires, value)
        self._size_bytes += _size_bytes(key, value)
        while self._size_bytes > self._max_bytes:
            self._forget(next(iter(self._values)))

    def _forget(self, key: str) -> None:
        if (item := self._values.pop(key, None)) is not None:
            self._size_bytes -= _size_bytes(key, item[1])


def _size_bytes(key: str, value: bytes) -> int:
    return _VALUE_BYTES + len(key) + len(value)
