"""Runs batches under claims: those started here or elsewhere, and those that others left behind.

A claim is kept by a heartbeat; who cannot keep it stops, for another worker goes on.
"""

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from services.chassis.errors import Internal, ServiceError
from services.chassis.eventlog.port import Claim
from services.chassis.loops import safely
from services.inference.batching.execution import Execution
from services.inference.batching.ports import BatchDesk
from services.inference.batching.turn import World
from services.inference.domain.batch import State

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much a worker does, and how often it looks around."""

    max_running: int
    heartbeat: timedelta
    look: timedelta


class Worker:
    """Owns the executions of this process. `working` makes one."""

    def __init__(
        self, group: asyncio.TaskGroup, desk: BatchDesk, world: World, sizes: Sizes
    ) -> None:
        self._group = group
        self._desk = desk
        self._world = world
        self._sizes = sizes
        self._executions: dict[Claim, tuple[Execution, asyncio.Task[None]]] = {}
        self._given_up: list[Claim] = []
        self._unreadable: set[Claim] = set()
        """Kept, so that nobody takes them up again and again."""
        self._is_stirred = asyncio.Event()
        self._is_stopping = False

    @property
    def running(self) -> int:
        """Batches in this process's hands."""
        return len(self._executions)

    def look(self) -> None:
        """Look around soon: there is something new."""
        self._is_stirred.set()

    async def keep_claims(self) -> None:
        """Renew what is held, and stop what is not any more, until cancelled."""
        while True:
            await asyncio.sleep(self._sizes.heartbeat.total_seconds())
            await safely(self._keep_claims, "claims not renewed", log=log)

    async def look_around(self) -> None:
        """Take up what nobody works on, and read letters, until cancelled."""
        while True:
            self._is_stirred.clear()
            await safely(self._find, "no batches found", log=log)
            await safely(self._read_letters, "letters not read", log=log)
            try:
                async with asyncio.timeout(self._sizes.look.total_seconds()):
                    await self._is_stirred.wait()
            except TimeoutError:
                pass

    async def listen(self) -> None:
        """Hear of letters, until cancelled."""
        while True:
            if await safely(self._desk.rung, "not woken", log=log):
                self.look()
            else:
                await asyncio.sleep(self._sizes.look.total_seconds())

    async def stop(self) -> None:
        """Take no more, stop what runs where it is, and hand over all that this worker has."""
        self._is_stopping = True
        tasks = [task for _, task in self._executions.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await safely(self._hand_over, "not handed over", log=log)

    async def _find(self) -> None:
        room = self._sizes.max_running - len(self._executions)
        if self._is_stopping or room <= 0:
            return
        for claim in await self._desk.find(room):
            log.info("batch taken up", extra={"batch_id": claim.stream_id, "epoch": claim.epoch})
            execution = Execution(self._world, claim)
            work = self._execute(execution)
            task = self._group.create_task(work, context=contextvars.Context())
            self._executions[claim] = execution, task

    async def _execute(self, execution: Execution) -> None:
        claim, is_through = execution.claim, False
        try:
            await execution.run()
            is_through = True
        except Internal as error:  # Nobody can go on.
            log.warning("batch given up", extra=_extra(claim, error))
            self._unreadable.add(claim)
            is_through = True
        except ServiceError as error:
            log.warning("batch given up", extra=_extra(claim, error))
        except Exception:
            log.exception("batch given up", extra={"batch_id": claim.stream_id})
        finally:
            self._executions.pop(claim, None)
            self.look()
            if not is_through:  # Given back by the next heartbeat: not at once, or it would spin.
                self._given_up.append(claim)

    async def _read_letters(self) -> None:
        if not self._executions:
            return
        for letter in await self._desk.letters():
            for claim, (execution, _) in self._executions.items():
                if (claim.tenant, claim.stream_id) == (letter.tenant, letter.stream_id):
                    execution.stop(State.CANCELED, letter.body.decode(errors="replace"))

    async def _keep_claims(self) -> None:
        given_up, self._given_up = self._given_up, []
        if given_up:
            await self._desk.release(given_up)
        before = dict(self._executions)
        held = frozenset(await self._desk.renew())
        self._unreadable &= held
        for claim, (_, task) in before.items():
            if claim not in held:
                task.cancel()

    async def _hand_over(self) -> None:
        await self._desk.release(await self._desk.renew())


def _extra(claim: Claim, error: ServiceError) -> dict[str, str]:
    return {"batch_id": claim.stream_id, "error_code": error.reason}


@asynccontextmanager
async def working(desk: BatchDesk, world: World, sizes: Sizes) -> AsyncIterator[Worker]:
    """A worker, until the context is left: then it hands over what it has."""
    async with asyncio.TaskGroup() as group:
        worker = Worker(group, desk, world, sizes)
        loops = [
            group.create_task(each())
            for each in (
                worker.keep_claims,
                worker.look_around,
                worker.listen,
                world.gate.look_after,
            )
        ]
        try:
            yield worker
        finally:
            for each in loops:
                each.cancel()
            await asyncio.wait(loops)
            await worker.stop()
