"""A value that is fetched at most so often, by one caller at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Generic, TypeVar

from services.chassis.context import current
from services.chassis.errors import ServiceError
from services.chassis.lately import Lately

Value = TypeVar("Value")

_TENANTS = 256


class Cached(Generic[Value]):
    """Calls `fetch` when the value is older than `ttl`; who comes meanwhile waits for it.

    A value is as old as its question: what changed while it was on its way may not be in it.
    """

    def __init__(self, fetch: Callable[[], Awaitable[Value]], ttl: timedelta) -> None:
        self._fetch = fetch
        self._ttl = ttl.total_seconds()
        self._lock = asyncio.Lock()
        self._held: tuple[Value, float] | None = None
        self._failed: tuple[ServiceError, float] | None = None

    async def get(self) -> Value:
        """The value. Raises what `fetch` raises."""
        if (value := self._fresh()) is not None:
            return value
        now = asyncio.get_running_loop().time
        came_at = now()
        async with self._lock:
            if (value := self._fresh()) is not None:
                return value
            if self._held is not None and self._held[1] >= came_at:
                return self._held[0]
            if self._failed is not None and self._failed[1] >= came_at:
                raise self._failed[0]  # Asked for while this one waited: it need not ask again.
            asked_at = now()
            try:
                value = await self._fetch()
            except ServiceError as error:
                self._failed = error, now()
                raise
            self._held = value, asked_at
        return value

    def _fresh(self) -> Value | None:
        if self._held is None:
            return None
        value, asked_at = self._held
        is_fresh = asyncio.get_running_loop().time() - asked_at < self._ttl
        return value if is_fresh else None


class CachedForTenants(Generic[Value]):
    """The same, of each tenant's own: what one is shown is not another's."""

    def __init__(self, fetch: Callable[[], Awaitable[Value]], ttl: timedelta) -> None:
        self._fetch = fetch
        self._ttl = ttl
        self._tenants: Lately[str, Cached[Value]] = Lately(_TENANTS)

    async def get(self) -> Value:
        """The value for the current tenant. Raises what `fetch` raises."""
        tenant = current.get().principal.tenant
        if (cached := self._tenants.get(tenant)) is None:
            cached = self._tenants.put(tenant, Cached(self._fetch, self._ttl))
        return await cached.get()
