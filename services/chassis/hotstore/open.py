"""Chooses the hot store's adapter by its URL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.chassis.errors import Violation, invalid
from services.chassis.hotstore.memory import MemoryHotStore
from services.chassis.hotstore.port import HotStore


@asynccontextmanager
async def hot_store(url: str) -> AsyncIterator[HotStore]:
    """The hot store at `url` (`RUNPLANE_HOT_STORE`), until the context is left.

    Raises:
        InvalidArgument: `HOT_STORE_UNSUPPORTED`.
    """
    scheme = url.partition(":")[0]  # The rest may hold a password.
    if scheme != "memory":
        raise invalid(
            Violation("RUNPLANE_HOT_STORE", f"{scheme}: is not supported", "use memory:"),
            reason="HOT_STORE_UNSUPPORTED",
        )
    yield MemoryHotStore()
