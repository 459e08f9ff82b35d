"""Runs workflows under claims: those moved here, those that are due, those others left behind.

So many run at once and no more; the others wait as rows. A claim is kept by a heartbeat; who cannot
keep it stops, for another worker goes on.
"""

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from services.chassis.errors import ServiceError
from services.chassis.eventlog.port import Claim
from services.workflow.domain.refusals import is_corrupt
from services.workflow.execution import Execution, World
from services.workflow.ports import Appended, Desk, Loaded

log = logging.getLogger(__name__)

SOONEST: Final = 0.005
"""Seconds between two looks, whatever is due."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much a worker does, and how often it looks around."""

    max_running: int
    heartbeat: timedelta
    look: timedelta


class Worker:
    """Owns the executions of this process. `working` makes one."""

    def __init__(self, group: asyncio.TaskGroup, desk: Desk, world: World, sizes: Sizes) -> None:
        self._group = group
        self._desk = desk
        self._world = world
        self._sizes = sizes
        self._executions: dict[tuple[str, str], Execution] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._given_up: list[Claim] = []
        self._has_gap = asyncio.Event()
        self._is_stopping = False

    @property
    def has_room(self) -> bool:
        """Whether one more workflow can be worked on."""
        return self._room > 0

    def take(self, appended: Appended) -> None:
        """Go on with what somebody has just moved, or tell the worker that has it."""
        claim = appended.claim
        if claim is None:
            return
        if claim.owner != self._desk.owner:
            self._spawn(self._wake(claim))
        elif (there := self._executions.get((claim.tenant, claim.stream_id))) is None:
            self._begin(claim, appended.loaded)
        elif there.claim == claim:
            there.move(appended.loaded)
        else:
            there.next = appended

    async def keep_claims(self) -> None:
        """Renew what is held, and look after what takes long, until cancelled."""
        while True:
            await asyncio.sleep(self._sizes.heartbeat.total_seconds())
            await self._safely(self._keep_claims, "claims not renewed")

    async def look_around(self) -> None:
        """Take up what is due and nobody works on, until cancelled."""
        while True:
            await self._safely(self._wait, "not woken")
            await self._safely(self._find, "no work found")

    async def stop(self) -> None:
        """Take no more, stop what runs where it is, and hand it over."""
        self._is_stopping = True
        held = [each.claim for each in self._executions.values()]
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._safely(lambda: self._desk.release([*held, *self._given_up]), "not handed over")

    @property
    def _room(self) -> int:
        if self._is_stopping:
            return 0
        return max(0, self._sizes.max_running - len(self._executions))

    def _begin(self, claim: Claim, loaded: Loaded | None = None) -> None:
        execution = Execution(self._world, claim, loaded)
        self._executions[claim.tenant, claim.stream_id] = execution
        self._spawn(self._execute(execution))

    async def _execute(self, execution: Execution) -> None:
        claim, is_through = execution.claim, False
        try:
            await execution.run()
            is_through = True
        except ServiceError as error:
            extra = {"workflow_id": claim.stream_id, "error_code": error.reason}
            log.warning("workflow given up", extra=extra)
            if is_corrupt(error, claim.stream_id):  # Nobody can go on: it must not come back.
                is_through = await self._safely(
                    lambda: self._world.logs.abandon(claim), "workflow not abandoned"
                )
        except Exception:
            log.exception("workflow given up", extra={"workflow_id": claim.stream_id})
        finally:
            self._end(execution, is_through=is_through)

    def _end(self, execution: Execution, *, is_through: bool) -> None:
        claim = execution.claim
        del self._executions[claim.tenant, claim.stream_id]
        if self._is_stopping:
            return
        if execution.next is not None:
            self.take(execution.next)
        elif not is_through:  # Given back by the next heartbeat: not at once, or it would spin.
            self._given_up.append(claim)
        self._has_gap.set()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._group.create_task(work, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wake(self, claim: Claim) -> None:
        await self._safely(lambda: self._desk.wake(claim), "worker not woken")

    async def _wait(self) -> None:
        """Until something is due, or somebody says so, or it is time to look anyway."""
        due = await self._desk.due_in() if self.has_room else None
        patience = min(due or self._sizes.look, self._sizes.look).total_seconds()
        try:
            async with asyncio.timeout(max(patience, SOONEST)):
                for name in await self._desk.woken():
                    if (execution := self._executions.get(name)) is not None:
                        await self._safely(execution.look, "workflow not looked at")
        except TimeoutError:
            pass

    async def _find(self) -> None:
        if not self.has_room:
            return
        for claim in await self._desk.find(self._room):
            if (claim.tenant, claim.stream_id) not in self._executions:
                self._begin(claim)

    async def _keep_claims(self) -> None:
        given_up, self._given_up = self._given_up, []
        if given_up:
            await self._desk.release(given_up)
        executions = list(self._executions.values())
        held = frozenset(await self._desk.renew())
        for execution in executions:
            if execution.claim in held:
                await self._safely(execution.look, "workflow not looked at")

    @staticmethod
    async def _safely(do: Callable[[], Awaitable[object]], otherwise: str) -> bool:
        """One trouble must not end the loop, which is everybody's. Whether there was none."""
        try:
            await do()
        except ServiceError as error:
            log.warning(otherwise, extra={"error_code": error.reason})
        except Exception:
            log.exception(otherwise)
        else:
            return True
        return False


@asynccontextmanager
async def working(desk: Desk, world: World, sizes: Sizes) -> AsyncIterator[Worker]:
    """A worker, until the context is left: then it hands over what it has."""
    async with asyncio.TaskGroup() as group:
        worker = Worker(group, desk, world, sizes)
        loops = [
            group.create_task(worker.keep_claims()),
            group.create_task(worker.look_around()),
        ]
        try:
            yield worker
        finally:
            for each in loops:
                each.cancel()
            await worker.stop()
