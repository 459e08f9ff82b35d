"""Sees to it that a process whose engine is dead does not stay: whoever starts it starts another.

First health says NOT_SERVING, so that callers go elsewhere; then the process stops as on SIGTERM,
what is under way being told that the engine failed, and ends with an exit code that says so.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from services.chassis.errors import Unavailable
from services.chassis.server import Health

log = logging.getLogger(__name__)

EVERY: Final = timedelta(milliseconds=200)


@asynccontextmanager
async def watched(
    check: Callable[[], Awaitable[None]], health: Health | None, *, every: timedelta = EVERY
) -> AsyncIterator[None]:
    """Look at the engines until the context is left.

    Raises:
        ExceptionGroup: of `Unavailable`, `ENGINE_FAILED`: one died, and the body was cancelled.
    """
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(_until_dead(check, health, every))
        try:
            yield
        finally:
            watching.cancel()


async def _until_dead(
    check: Callable[[], Awaitable[None]], health: Health | None, every: timedelta
) -> None:
    while True:
        try:
            await check()
        except Unavailable as error:
            log.error("engine dead, stopping", extra={"cause": error.message})  # noqa: TRY400
            if health is not None:
                await health.set_serving(False)
            raise
        await asyncio.sleep(every.total_seconds())
