"""Chooses the hot store's adapter by its URL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from services.chassis.errors import Violation, invalid
from services.chassis.hotstore.memory import MemoryHotStore
from services.chassis.hotstore.port import HotStore


@asynccontextmanager
async def hot_store(url: str) -> AsyncIterator[HotStore]:
    """The hot store at `url` (`RUNPLANE_HOT_STORE`), until the context is left.

    `memory:`, `redis://…`, `rediss://…` or `redis+cluster://…`.

    Raises:
        InvalidArgument: `HOT_STORE_UNSUPPORTED`.
    """
    scheme = url.partition(":")[0]  # The rest may hold a password.
    if scheme == "memory":
        yield MemoryHotStore()
    elif scheme in {"redis", "rediss", "redis+cluster"}:
        from services.chassis.hotstore import redis  # noqa: PLC0415 - who needs none, loads none

        async with redis.opened(url, now=lambda: datetime.now(UTC)) as store:
            yield store
    else:
        fix = "use memory:, redis://HOST:6379 or redis+cluster://HOST:6379"
        violation = Violation("RUNPLANE_HOT_STORE", f"{scheme}: is not supported", fix)
        raise invalid(violation, reason="HOT_STORE_UNSUPPORTED")
