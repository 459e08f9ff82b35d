"""What a service needs of a hot store. Adapters pass `tests/contract/chassis/hotstore`."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """One event on its way to watchers: its sequence in the event store, and its body."""

    sequence: int
    body: bytes


class Subscription(Protocol):
    """What one subscriber hears of a topic."""

    async def next(self) -> Sequence[Entry]:
        """Entries published since the call before, oldest first; waits until there is one.

        A subscriber that is too slow, or a store that went away, misses some: who needs them all
        compares sequences and reads the event store.
        """


class HotStore(Protocol):
    """Live fan-out, a cache and counters. Every method may forget; none may block for long."""

    async def publish(self, topic: str, entries: Sequence[Entry]) -> None:
        """Hand entries to those who are subscribed now."""

    def subscribe(self, topic: str) -> AbstractAsyncContextManager[Subscription]:
        """Hear what is published from now on, until the context is left."""

    async def get(self, key: str) -> bytes | None:
        """The value under `key`, unless it expired or was forgotten."""

    async def set(self, key: str, value: bytes, *, ttl: timedelta) -> None:
        """Keep a value for at most `ttl`."""

    async def delete(self, key: str) -> None:
        """Forget a value."""

    async def add(self, key: str, amount: int, *, ttl: timedelta) -> int:
        """Add to a counter that starts at 0 and expires `ttl` after that; its new value."""
