"""Few large requests at once, so that whoever sends hundreds of them does not hold up the rest."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, Final, Protocol, TypeVar

from google.protobuf.message import Message

LARGE: Final = 32 * 1024
"""Bytes, from which on reading, checking and packing a request takes a part of the loop's time."""
AT_ONCE: Final = 1
BREATHS: Final = 16
"""Turns of the loop between two of them. The server takes in about one call in each turn, whatever
it is, so that small ones would wait behind all the large ones that came before."""

Answer = TypeVar("Answer")


class Gate:
    """What a servicer has for all its requests."""

    def __init__(self) -> None:
        self._large = asyncio.Semaphore(AT_ONCE)

    @asynccontextmanager
    async def through(self, request: Message) -> AsyncIterator[None]:
        """At once for a small request; a large one waits for those that came first."""
        if request.ByteSize() < LARGE:
            yield
            return
        async with self.alone():
            yield

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """For what is much work whatever its request says."""
        async with self._large:
            for _ in range(BREATHS):
                await asyncio.sleep(0)
            yield


class Gated(Protocol):
    """Who has one."""

    gate: Gate


def gated(
    method: Callable[[Any, Any, Any], Awaitable[Answer]],
) -> Callable[[Any, Any, Any], Awaitable[Answer]]:
    """A method of a servicer that lets its request through the servicer's gate first."""

    @wraps(method)
    async def passed(self: Gated, request: Message, context: object) -> Answer:
        async with self.gate.through(request):
            return await method(self, request, context)

    return passed
