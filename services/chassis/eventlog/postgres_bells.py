"""Letters ring through PostgreSQL: LISTEN and NOTIFY, with one connection for each process."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg

from services.chassis.eventlog.bells import Bells

log = logging.getLogger(__name__)

CHANNEL: Final = "current_schema() || '_letters'"
"""SQL for where a schema's letters are told of; what is told is the owner."""
PAUSE: Final = 1.0  # Before it is tried again.
_FAILURES: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)


async def listen_all(connecting: Callable[[], Awaitable[Any]], bells: Bells) -> None:
    """Ring for what is told, until cancelled. While the database is away, nothing rings."""
    while True:
        try:
            await _listen(await connecting(), bells)
        except _FAILURES as error:
            log.warning("no letters are heard of", extra={"cause": type(error).__name__})
        await asyncio.sleep(PAUSE)


async def _listen(connection: Any, bells: Bells) -> None:
    """Until the connection is lost."""
    is_lost = asyncio.Event()
    connection.add_termination_listener(lambda _: is_lost.set())
    try:
        channel = await connection.fetchval(f"select {CHANNEL}")
        await connection.add_listener(channel, lambda *told: bells.ring(told[-1]))
        await is_lost.wait()
    finally:
        connection.terminate()
