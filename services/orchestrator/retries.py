"""What is tried again, and when: the one place of retries (product.md 9)."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from services.chassis.errors import ResourceExhausted, ServiceError, Unavailable

ATTEMPTS: Final = 3
BACKOFF_SECONDS: Final = 0.4  # Two waits bridge the restart of a service.
Value = TypeVar("Value")


def is_passing(error: ServiceError) -> bool:
    """Whether the same call may do better soon (product.md 9)."""
    if isinstance(error, Unavailable):
        return True
    return isinstance(error, ResourceExhausted) and error.retry_after is not None


async def patiently(ask: Callable[[], Awaitable[Value]]) -> Value:
    """What is asked for, again while a service is away."""
    for attempt in range(1, ATTEMPTS):
        try:
            return await ask()
        except ServiceError as error:
            if not is_passing(error):
                raise
            await backoff(attempt, error)
    return await ask()


async def backoff(attempt: int, error: ServiceError) -> None:
    """Wait before the next attempt: exponentially, with jitter, at least as long as was asked."""
    asked = error.retry_after.total_seconds() if error.retry_after else 0.0
    jitter = random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, guards nothing
    await asyncio.sleep(max(asked, BACKOFF_SECONDS * 2 ** (attempt - 1) * jitter))
