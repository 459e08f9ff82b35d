"""A value that is fetched at most so often, by one caller at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Cached(Generic[Value]):
    """Calls `fetch` when the value is older than `ttl`; who comes meanwhile waits for it."""

    def __init__(self, fetch: Callable[[], Awaitable[Value]], ttl: timedelta) -> None:
        self._fetch = fetch
        self._ttl = ttl.total_seconds()
        self._lock = asyncio.Lock()
        self._held: tuple[Value, float] | None = None

    async def get(self) -> Value:
        """The value. Raises what `fetch` raises."""
        if (value := self._fresh()) is not None:
            return value
        async with self._lock:
            if (value := self._fresh()) is None:
                value = await self._fetch()
                self._held = value, asyncio.get_running_loop().time()
        return value

    def _fresh(self) -> Value | None:
        if self._held is None:
            return None
        value, fetched_at = self._held
        is_fresh = asyncio.get_running_loop().time() - fetched_at < self._ttl
        return value if is_fresh else None
