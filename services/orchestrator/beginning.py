"""The start of an orchestrator: what others left waits until there is somebody to ask.

Where a whole suite starts, a model may take minutes to load, and tasks that go on at once would
fail for want of it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from services.chassis.context import current, local_context

log = logging.getLogger(__name__)

LOOK: Final = timedelta(milliseconds=200)
PATIENCE: Final = timedelta(minutes=5)
"""Then tasks go on all the same: each has to end."""

Ask = Callable[[], Awaitable[bool]]
"""Whether models are there."""


async def wait_for(are_there: Ask) -> None:
    """Wait until they are, or for `PATIENCE`. It asks for itself: in a task of its own."""
    current.set(local_context())
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            if await are_there():
                return
            log.info("tasks that were left behind wait for models")
            while not await are_there():  # noqa: ASYNC110 - it is over a wire
                await asyncio.sleep(LOOK.total_seconds())
    except TimeoutError:
        log.warning("no models are there, and tasks go on all the same")


async def at_once() -> bool:
    """For whoever has models from the beginning."""
    return True
