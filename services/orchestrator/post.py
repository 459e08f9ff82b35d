"""Letters to tasks, wherever they are worked on."""

import logging
from dataclasses import dataclass

from services.chassis.errors import ServiceError
from services.orchestrator.domain import letters
from services.orchestrator.domain.letters import Cancel, Word
from services.orchestrator.ports import Desk
from services.orchestrator.worker import Worker
from services.orchestrator.world import World

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Post:
    """Delivers what is said to tasks."""

    world: World
    worker: Worker
    desk: Desk

    async def send_anyway(self, tenant: str, task_id: str, word: Word) -> None:
        """As `send`, for nobody who could be told that it failed."""
        try:
            await self.send(tenant, task_id, word)
        except ServiceError as error:
            log.warning("letter not sent", extra={"task_id": task_id, "error_code": error.reason})
        except Exception:
            log.exception("letter not sent", extra={"task_id": task_id})

    async def send(self, tenant: str, task_id: str, word: Word) -> bool:
        """Put a word into a task's inbox, durably, and rouse whoever works on it; this process if
        nobody does. False if the task has ended."""
        kind, body = letters.written(word)
        is_last = isinstance(word, Cancel)
        if not await self.desk.send(tenant, task_id, kind, body, is_last=is_last):
            return False
        if (run := self.worker.find(tenant, task_id)) is None:
            if (claim := await self.desk.take(tenant, task_id)) is None:
                return True  # Another has it, and was woken.
            run = await self.worker.take_up(self.world, claim)
        await self.worker.read_letters(run)
        return True
