"""Runs workflows under claims: those moved here, those that are due, those others left behind.

So many run at once and no more; the others wait as rows. A claim is kept by a heartbeat; who cannot
keep it stops, for another worker goes on.
"""

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

from services.chassis.errors import ServiceError
from services.chassis.eventlog.port import Claim
from services.chassis.loops import safely
from services.workflow.domain.instance import Standing
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
        self._tasks: dict[asyncio.Task[object], Execution | None] = {}
        """With what each executes, if it does."""
        self._given_up: list[Claim] = []
        self._has_gap = asyncio.Event()
        self._is_stopping = False
        self.waiting = 0
        """Workflows that were due a moment ago, and that nobody worked on, here or elsewhere."""

    @property
    def running(self) -> int:
        """How many workflows are worked on here."""
        return len(self._executions)

    @property
    def has_room(self) -> bool:
        """Whether one more workflow can be worked on."""
        return self._room > 0

    def take(self, appended: Appended) -> None:
        """Go on with what somebody has just moved, or tell the worker that has it."""
        loaded, claim = appended.loaded, appended.claim
        spec = loaded.instance.spec
        if loaded.instance.is_at_end and spec.parent_workflow_id:
            self._spawn(self._tell(loaded))
        if claim is None:
            if (there := self._executions.get((spec.tenant, spec.workflow_id))) is not None:
                there.move(loaded)
        elif claim.owner == self._desk.owner:
            self._begin(claim, loaded)
        else:
            self._spawn(safely(partial(self._desk.wake, claim), "worker not woken", log=log))

    async def keep_claims(self) -> None:
        """Renew what is held, and stop what is not any more, until cancelled."""
        while True:
            await asyncio.sleep(self._sizes.heartbeat.total_seconds())
            await safely(self._keep_claims, "claims not renewed", log=log)

    async def look_after(self) -> None:
        """See whether somebody has moved what takes long, and what nobody has, until cancelled. It
        has no part in keeping claims, for logs may take their time to be read."""
        while True:
            await asyncio.sleep(self._sizes.heartbeat.total_seconds())
            await safely(self._count, "not counted", log=log)
            for task, execution in list(self._tasks.items()):
                if execution is not None and not task.done():
                    await safely(execution.look, "not looked at", log=log)

    async def look_around(self) -> None:
        """Take up what is due and nobody works on, until cancelled."""
        while True:
            await safely(self._find, "no work found", log=log)
            if not await safely(self._wait, "not known what is due", log=log):
                await asyncio.sleep(self._sizes.look.total_seconds())

    async def listen(self) -> None:
        """Look at what other workers have moved, until cancelled."""
        while True:
            if not await safely(self._heed, "not woken", log=log):
                await asyncio.sleep(self._sizes.look.total_seconds())

    async def stop(self) -> None:
        """Take no more, stop what runs where it is, and hand over all that this worker has."""
        self._is_stopping = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await safely(self._hand_over, "not handed over", log=log)

    @property
    def _room(self) -> int:
        if self._is_stopping:
            return 0
        return max(0, self._sizes.max_running - len(self._executions))

    def _begin(self, claim: Claim, loaded: Loaded | None = None) -> None:
        """Execute under this claim: now, or when whoever had an earlier one has ended."""
        if self._is_stopping:
            return
        last = self._executions.get((claim.tenant, claim.stream_id))
        while last is not None and last.claim != claim and last.next is not None:
            last = last.next
        if last is None:
            self._start(Execution(self._world, claim, loaded))
        elif last.claim != claim:
            last.next = Execution(self._world, claim, loaded)
        elif loaded is not None:
            last.move(loaded)

    def _start(self, execution: Execution) -> None:
        claim = execution.claim
        self._executions[claim.tenant, claim.stream_id] = execution
        self._spawn(self._execute(execution), execution)

    async def _execute(self, execution: Execution) -> None:
        claim, is_through = execution.claim, False
        try:
            await execution.run()
            is_through = True
        except ServiceError as error:
            extra = {"workflow_id": claim.stream_id, "error_code": error.reason}
            log.warning("workflow given up", extra=extra)
            if is_corrupt(error, claim.stream_id):  # Nobody can go on: it must not come back.
                is_through = await safely(
                    lambda: self._world.logs.abandon(claim), "workflow not abandoned", log=log
                )
        except Exception:
            log.exception("workflow given up", extra={"workflow_id": claim.stream_id})
        finally:
            self._end(execution, is_through=is_through)

    def _end(self, execution: Execution, *, is_through: bool) -> None:
        claim = execution.claim
        if not self.has_room:
            self._has_gap.set()
        del self._executions[claim.tenant, claim.stream_id]
        if self._is_stopping:
            return
        if execution.next is not None:
            self._start(execution.next)
        elif not is_through:  # Given back by the next heartbeat: not at once, or it would spin.
            self._given_up.append(claim)

    def _spawn(self, work: Coroutine[None, None, object], of: Execution | None = None) -> None:
        task = self._group.create_task(work, context=contextvars.Context())
        self._tasks[task] = of
        task.add_done_callback(self._tasks.pop)

    async def _tell(self, loaded: Loaded) -> None:
        at = Standing(loaded.definition, loaded.instance, self._world.now())
        await safely(partial(self._world.effects.told, at), "workflow above not told", log=log)

    async def _heed(self) -> None:
        for name in await self._desk.woken():
            if (execution := self._executions.get(name)) is not None:
                await safely(execution.look, "not looked at", log=log)

    async def _wait(self) -> None:
        """Until something is due, or there is room again, or it is time to look anyway."""
        due = await self._desk.due_in() if self.has_room else None
        patience = self._sizes.look if due is None else min(due, self._sizes.look)
        try:
            async with asyncio.timeout(max(patience.total_seconds(), SOONEST)):
                await self._has_gap.wait()
        except TimeoutError:
            pass
        self._has_gap.clear()

    async def _count(self) -> None:
        self.waiting = await self._desk.waiting()

    async def _find(self) -> None:
        if not self.has_room:
            return
        for claim in await self._desk.find(self._room):
            self._begin(claim)

    async def _keep_claims(self) -> None:
        given_up, self._given_up = self._given_up, []
        if given_up:
            await self._desk.release(given_up)
        before = dict(self._tasks)
        known = {*self._claims()}
        held = frozenset(await self._desk.renew())
        for claim in held - known - {*self._claims(), *given_up, *self._given_up}:
            self._begin(claim)  # Whoever appended was cut off before it said so.
        for task, execution in before.items():
            if execution is not None and execution.claim not in held:
                task.cancel()

    def _claims(self) -> Iterator[Claim]:
        for execution in self._executions.values():
            each: Execution | None = execution
            while each is not None:
                yield each.claim
                each = each.next

    async def _hand_over(self) -> None:
        await self._desk.release(await self._desk.renew())


@asynccontextmanager
async def working(desk: Desk, world: World, sizes: Sizes) -> AsyncIterator[Worker]:
    """A worker, until the context is left: then it hands over what it has."""
    async with asyncio.TaskGroup() as group:
        worker = Worker(group, desk, world, sizes)
        loops = [
            group.create_task(each())
            for each in (worker.keep_claims, worker.look_after, worker.look_around, worker.listen)
        ]
        try:
            yield worker
        finally:
            for each in loops:
                each.cancel()
            await asyncio.wait(loops)
            await worker.stop()
