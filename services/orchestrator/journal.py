"""The one writer of a task's log."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Final

from services.chassis.errors import ServiceError
from services.chassis.eventlog.port import Claim
from services.orchestrator.domain.events import Event
from services.orchestrator.domain.task import Task
from services.orchestrator.ports import LogLost, TaskLog

log = logging.getLogger(__name__)

_INTERNAL: Final = "INTERNAL"
Spawn = Callable[[Coroutine[None, None, None]], asyncio.Task[None]]


class Journal:
    """A task as it stands, and how something is added: under the claim, one after the other."""

    def __init__(self, log: TaskLog, spawn: Spawn, task: Task, claim: Claim | None) -> None:
        """Without a claim it writes nothing until `begin`."""
        self.task = task
        self.claim = claim
        self._log = log
        self._spawn = spawn
        self._writing = asyncio.Lock()
        self._has_begun = asyncio.Event()
        self._fault: str | None = None
        if claim is not None:
            self._has_begun.set()

    def begin(self, claim: Claim) -> None:
        """The log has begun, and is this process's to go on with."""
        self.claim = claim
        self._has_begun.set()

    def fail(self, reason: str) -> None:
        """Nothing can be written: whoever waits to write is told so."""
        self._fault = reason
        self._has_begun.set()

    async def append(self, *events: Event, answered: Sequence[int] = ()) -> None:
        """Write what there is. A cancel waits until that is done: what is on its way to the disk
        gets there.

        Raises:
            LogLost: it could not be written, now or before.
        """
        if not events and not answered:
            return
        await self._has_begun.wait()
        async with self._writing:
            writing = self._spawn(self._write(events, answered))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                await asyncio.wait((writing,))
                raise
            if self._fault is not None:
                raise LogLost(self._fault)

    async def park(self, delay: timedelta) -> None:
        """Give the task back until there is something for it, or for so long. Raises `LogLost`."""
        try:
            await self._log.park(self.task, self._held(), delay=delay)
        except ServiceError as error:
            raise LogLost(error.reason) from error
        self.claim = None

    async def _write(self, events: Sequence[Event], answered: Sequence[int]) -> None:
        if self._fault is not None:
            return  # What came before may be missing: nothing may come after it.
        try:
            await self._log.append(
                self.task, events, self._held(), answered=answered, stored=self._stored
            )
        except ServiceError as error:
            self._fault = error.reason
        except Exception:
            log.exception("task cannot be written", extra={"task_id": self.task.spec.task_id})
            self._fault = _INTERNAL

    def _stored(self, task: Task) -> None:
        """Before watchers are told: who has heard of an end finds it."""
        self.task = task

    def _held(self) -> Claim:
        if self.claim is None:
            raise LookupError(self.task.spec.task_id)
        return self.claim
