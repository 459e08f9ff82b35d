"""Questions that are asked side by side."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from services.chassis.errors import ServiceError

Value = TypeVar("Value")
MOST: Final = 8
"""How many of them at once."""


async def beside(asks: Sequence[Callable[[], Awaitable[Value]]]) -> list[Value]:
    """What each of them says, in their order.

    Raises:
        ServiceError: what the first of them raises that fails, once all are done.
    """
    room = asyncio.Semaphore(MOST)

    async def asked(ask: Callable[[], Awaitable[Value]]) -> Value | ServiceError:
        async with room:
            try:
                return await ask()
            except ServiceError as error:
                return error

    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(asked(ask)) for ask in asks]
    said: list[Value] = []
    for each in asking:
        if isinstance(value := each.result(), ServiceError):
            raise value
        said.append(value)
    return said
