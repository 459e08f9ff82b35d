"""Work that goes on to its end, whoever goes away meanwhile."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeVar

Value = TypeVar("Value")
Spawn = Callable[[Coroutine[None, None, None]], asyncio.Task[None]]


async def uncut(spawn: Spawn, work: Coroutine[None, None, Value], *, waits: bool = False) -> Value:
    """What comes of the work. A cancel of who waits for it does not reach it, and `waits` for its
    end or does not. Raises what the work raises."""
    came: asyncio.Future[Value] = asyncio.get_running_loop().create_future()
    came.add_done_callback(_seen)

    async def run() -> None:
        try:
            came.set_result(await work)
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            came.set_exception(error)

    running = spawn(run())
    try:
        return await asyncio.shield(came)
    except asyncio.CancelledError:
        if waits:
            await asyncio.wait((running,))
        raise


def _seen(came: asyncio.Future[Value]) -> None:
    """Nobody may be there any more to ask what came of it."""
    if not came.cancelled():
        came.exception()
