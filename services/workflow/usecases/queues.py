"""One after another: who changes a workflow waits for those who came before."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary


class Queues:
    """A queue for each name, for as long as somebody stands in it. A thousand callers who all
    decide at once, and again after each of them, would decide half a million times."""

    def __init__(self) -> None:
        self._locks: Final[WeakValueDictionary[tuple[str, str], asyncio.Lock]] = (
            WeakValueDictionary()
        )

    @asynccontextmanager
    async def turn(self, name: tuple[str, str]) -> AsyncIterator[None]:
        """Wait until it is the caller's turn, which lasts until the context is left."""
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with lock:
            yield
