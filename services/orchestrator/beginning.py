"""The start of an orchestrator: what others left waits until there is somebody to ask.

Where a whole suite starts, a model may take minutes to load, and tasks that go on at once would
fail for want of it.
"""

import asyncio
import logging
from datetime import timedelta
from typing import Final

from services.chassis.context import current, local_context
from services.chassis.errors import ServiceError
from services.orchestrator.ports import KnownModels
from services.orchestrator.retries import is_passing

log = logging.getLogger(__name__)

LOOK: Final = timedelta(milliseconds=200)
PATIENCE: Final = timedelta(minutes=5)
"""Then tasks are taken up all the same: each has to end."""


async def models_are_there(models: KnownModels) -> None:
    """Wait until the inference service answers, or for `PATIENCE`. It asks for itself: in a task of
    its own."""
    current.set(local_context())
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while await _are_away(models):  # noqa: ASYNC110 - it is over a wire
                await asyncio.sleep(LOOK.total_seconds())
    except TimeoutError:
        log.warning("no models are there, and tasks are taken up all the same")


async def _are_away(models: KnownModels) -> bool:
    try:
        await models.known()
    except ServiceError as error:
        return is_passing(error)
    return False
