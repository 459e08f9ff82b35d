"""One after another: who changes a workflow waits for those who came before."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

BREATHS: Final = 16
"""Turns of the loop: the server takes in about one call in each."""


class Queues:
    """A queue for each name, for as long as somebody stands in it. A thousand callers who all
    decide at once, and again after each of them, would decide half a million times."""

    def __init__(self) -> None:
        self._locks: Final[WeakValueDictionary[tuple[str, str], asyncio.Lock]] = (
            WeakValueDictionary()
        )
        self._heavy = asyncio.Lock()

    @asynccontextmanager
    async def turn(self, name: tuple[str, str]) -> AsyncIterator[None]:
        """Wait until it is the caller's turn, which lasts until the context is left."""
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with lock:
            yield

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """For what holds the loop long: one at a time, and others have some turns in between."""
        async with self._heavy:
            for _ in range(BREATHS):
                await asyncio.sleep(0)
            yield
