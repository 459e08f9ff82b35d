"""Calls that may be made again, of services that are away for a moment."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from gateway.mcp.refusals import Refused

T = TypeVar("T")

AWAY: Final = "SERVICE_UNAVAILABLE"
"""Why a call is refused of a service that cannot be reached."""
_PAUSES: Final = (0.25, 0.5, 1.0, 2.0)


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """What comes of a call that does no harm when it is made twice. Raises `Refused`."""
    for pause in _PAUSES:
        try:
            return await call()
        except Refused as refused:
            if refused.reason != AWAY:
                raise
        await asyncio.sleep(pause)
    return await call()
