"""Runs tasks under claims: those accepted here, and those that other workers left behind.

So many run at once, so many wait, and no more. A claim is kept by a heartbeat; who cannot keep it
stops, for another worker goes on.
"""

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from services.chassis.concerning import concerning
from services.chassis.context import current, resumed
from services.chassis.errors import ResourceExhausted, ServiceError, Unavailable
from services.chassis.eventlog.newer import is_newer
from services.chassis.eventlog.port import Claim, Key
from services.orchestrator.beginning import Ask, at_once, wait_for
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.letters import Cancel, written
from services.orchestrator.domain.task import evolve
from services.orchestrator.equipment import Equipment
from services.orchestrator.ports import Desk
from services.orchestrator.retries import patiently
from services.orchestrator.run import Run
from services.orchestrator.uncut import uncut
from services.orchestrator.world import World

log = logging.getLogger(__name__)

GONE: Final = "the caller went away"
PASSES_TO_ASK: Final = 3
"""Turns of the loop until a run that was started has sent its question to the model."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much a worker does, and how often it looks around."""

    max_running: int
    max_queued: int
    heartbeat: timedelta
    look: timedelta


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A place in the queue."""

    context: contextvars.Context
    expiry: asyncio.TimerHandle
    since: float
    """In the loop's time."""
    watch: asyncio.Task[None] | None = None
    """What waits for another task to end."""

    def leave(self) -> contextvars.Context:
        """Wait no more."""
        self.expiry.cancel()
        if self.watch is not None and self.watch is not asyncio.current_task():
            self.watch.cancel()
        return self.context


class Worker:
    """Owns the runs of this process. `working` makes one."""

    def __init__(self, group: asyncio.TaskGroup, desk: Desk, sizes: Sizes) -> None:
        self._group = group
        self._desk = desk
        self._sizes = sizes
        self._running = 0
        self._children = 0  # Beside them: those that others of them wait for.
        self._queue: dict[Run, _Waiting] = {}  # In order of arrival.
        self._followers: dict[Run, _Waiting] = {}  # For models, or for the task before them.
        self._runs: dict[tuple[str, str], Run] = {}
        self._given_up: list[Claim] = []
        self._strangers: frozenset[Claim] = frozenset()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = False
        self._has_models = asyncio.Event()  # Until they are waited for, they are there.
        self._has_models.set()
        self.is_draining = False
        """Whether callers may be cut off by this process, and have not left."""

    def spawn(
        self, work: Coroutine[None, None, None], context: contextvars.Context | None = None
    ) -> asyncio.Task[None]:
        """Run something in the background, owned by this worker."""
        task = self._group.create_task(work, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def load(self) -> tuple[int, int]:
        """How many tasks run here, and how many wait for a place."""
        return self._running + self._children, len(self._queue) + len(self._followers)

    def longest_wait(self) -> float:
        """For how many seconds the first in the queue has waited for a place."""
        first = next(iter(self._queue.values()), None)
        return 0.0 if first is None else asyncio.get_running_loop().time() - first.since

    def check_room(self, *, is_child: bool = False, must_wait: bool = False) -> None:
        """Refuse before anything is done for a task there is no room for. Tasks that others wait
        for have as many places of their own, so that none of them waits for those it is for.

        `must_wait`: another task of its session comes first.

        Raises:
            ResourceExhausted: `TOO_MANY_TASKS`, with RetryInfo.
            Unavailable: `SERVICE_STOPPING`.
        """
        if self._is_stopping or (self.is_draining and not is_child):
            raise Unavailable("SERVICE_STOPPING", "the service is stopping; try another replica")
        queued = len(self._queue) + len(self._followers)
        is_full = (must_wait or not self._free) and queued >= self._sizes.max_queued
        if is_child:
            is_full = self._children >= self._sizes.max_running
        if is_full:
            message = f"{self._running} tasks run and {queued} wait: there is no room"
            counts = {"running": str(self._running), "queued": str(queued)}
            full = ResourceExhausted("TOO_MANY_TASKS", message, **counts)
            raise full.after(timedelta(seconds=1))

    async def submit(
        self, world: World, spec: ev.Spec, equipment: Equipment, key: Key | None = None
    ) -> Run:
        """Accept a task, and run it now or when there is room.

        Raises:
            ResourceExhausted, Unavailable: as `check_room`.
            AlreadyExists: `IDEMPOTENCY_KEY_TAKEN`.
            ServiceError: its log could not be begun; there is no task then.
        """
        is_child, must_wait = bool(spec.parent_task_id), bool(spec.place.follows)
        self.check_room(is_child=is_child, must_wait=must_wait)
        chosen = None if must_wait else await world.memory.choose(spec, equipment)
        event: ev.Queued | ev.Started = ev.Queued(world.now(), spec)
        if not must_wait and (self._free or is_child):
            if chosen is not None:
                equipment = replace(equipment, history=chosen.messages)
            event = ev.Started(world.now(), spec, chosen.window if chosen else None)
        run = Run(world, evolve(None, event), None, equipment)
        if isinstance(event, ev.Started):  # Ask while the beginning is on its way to the disk.
            self._occupy(run)
            self._start(run, contextvars.copy_context())
        await self._begun(run, event, key)
        return run

    async def _begun(self, run: Run, event: ev.Queued | ev.Started, key: Key | None) -> None:
        """Wait until the log has begun. What is on its way to the disk gets there, whoever goes
        away meanwhile: then the task is cancelled, unless it is to go on without its caller.

        Raises:
            ServiceError: it could not be begun.
        """
        try:
            await uncut(self.spawn, self._begin(run, event, key))
        except asyncio.CancelledError:
            if not (run.spec.survives_disconnect or self.is_draining):
                run.cancel(GONE)
            raise

    async def _begin(self, run: Run, event: ev.Queued | ev.Started, key: Key | None) -> None:
        is_started = isinstance(event, ev.Started)
        try:
            for _ in range(PASSES_TO_ASK if is_started else 0):
                await asyncio.sleep(0)
            _, claim = await run.world.log.begin(event, key)
        except ServiceError as error:
            run.forsake(error.reason)
            if is_started:
                await run.done.wait()  # Its place is free by then.
            raise
        except BaseException:
            run.forsake("INTERNAL")
            raise
        run.begin(claim)
        if is_started:
            self._runs[run.spec.tenant, run.spec.task_id] = run
            return
        self._admit(run, contextvars.copy_context())
        if run.canceled is not None:
            self._hurry(run)

    async def take_up(self, world: World, claim: Claim) -> Run:
        """Go on with a task that has no worker; the claim is this process's already."""
        task = await world.log.load(claim.tenant, claim.stream_id)
        run = Run(world, task, claim)
        spec, context = task.spec, contextvars.copy_context()
        context.run(current.set, resumed(spec.tenant, spec.owner, spec.trace_id))
        self._admit(run, context)
        return run

    def cancel(self, run: Run, reason: str) -> None:
        """Stop a run; one that waits in the queue ends at once, too."""
        run.cancel(reason)
        self._hurry(run)

    def find(self, tenant: str, task_id: str) -> Run | None:
        """The run of a task that is not ended, if it is here."""
        return self._runs.get((tenant, task_id))

    async def read_letters(self, run: Run | None = None) -> None:
        """Tell the runs of this process what others told them, or one of them."""
        runs = list(self._runs.values()) if run is None else [run]
        if not runs:
            return
        known = [number for each in runs for number in each.known]
        task_id = run.spec.task_id if run is not None else ""
        for letter in await self._desk.letters(task_id=task_id, known=known):
            if (told := self.find(letter.tenant, letter.stream_id)) is not None:
                told.tell(letter)
                if told.canceled is not None:
                    self._hurry(told)

    async def keep_claims(self) -> None:
        """Renew what is held, and give back what was given up, until cancelled."""
        while True:
            await asyncio.sleep(self._sizes.heartbeat.total_seconds())
            try:
                await self._keep_claims()
            except ServiceError as error:
                log.warning("claims not renewed", extra={"error_code": error.reason})
            except Exception:
                log.exception("claims not renewed")

    async def look_around(self, world: World) -> None:
        """Read letters and take up what nobody works on, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._sizes.look.total_seconds()):
                    await self._desk.woken()
            except TimeoutError:
                pass
            try:
                await self._look_around(world)
            except ServiceError as error:
                log.warning("no work found", extra={"error_code": error.reason})
            except Exception:
                log.exception("no work found")

    async def wait_for_models(self, are_there: Ask) -> None:
        """Have tasks that are taken up go on from when on there is somebody to ask. Until then a
        cancel or their deadline ends them, as any that wait."""
        self._has_models.clear()
        await wait_for(are_there)
        self._has_models.set()

    def drain(self) -> None:
        """Take no more tasks; those that run go on."""
        self.is_draining = True

    async def stop(self) -> None:
        """Stop those that run where they are, and hand them over."""
        self.is_draining = self._is_stopping = True
        for waiting in (*self._queue.values(), *self._followers.values()):
            waiting.expiry.cancel()
        left = [run.claim for run in self._runs.values() if run.claim is not None]
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        try:
            await self._desk.release([*left, *self._given_up])
        except ServiceError as error:
            log.warning("tasks not handed over", extra={"error_code": error.reason})

    @property
    def _free(self) -> int:
        return max(0, self._sizes.max_running - self._running)

    @property
    def _room(self) -> int:
        """For how many tasks that others left behind: not for more than can run at once, once there
        are models."""
        if self.is_draining or len(self._followers) > self._sizes.max_queued:
            return 0
        return self._free if self._has_models.is_set() else self._free - len(self._followers)

    async def _keep_claims(self) -> None:
        if self._given_up:
            given_up, self._given_up = self._given_up, []
            await self._desk.release(given_up)
        runs = list(self._runs.values())  # A claim made from here on need not be among those held.
        held = frozenset(await self._desk.renew())
        await self._part_with(held - {run.claim for run in self._runs.values() if run.claim})
        for run in runs:
            if run.claim is not None and run.claim not in held and not run.done.is_set():
                run.give_up()
                self._hurry(run)

    async def _part_with(self, strangers: frozenset[Claim]) -> None:
        """Give back what is claimed in this worker's name and has no run, twice in a row: a
        beginning that failed after it was written."""
        forgotten = strangers & self._strangers
        self._strangers = strangers - forgotten
        if forgotten:
            await self._desk.release(list(forgotten))

    async def _look_around(self, world: World) -> None:
        if (room := self._room) > 0:
            for claim in await self._desk.find(room):
                log.info("task taken up", extra={"task_id": claim.stream_id, "epoch": claim.epoch})
                await self._take_up_if_readable(world, claim)
        await self.read_letters()

    async def _take_up_if_readable(self, world: World, claim: Claim) -> None:
        """A log that this release cannot read must not end the others' work. Its claim is given
        back after two heartbeats, as any that has no run."""
        named = {"task_id": claim.stream_id}
        try:
            await self.take_up(world, claim)
        except ServiceError as error:
            if not is_newer(error):
                raise
            log.warning("task left to a newer version", extra=named)
        except Exception:
            log.exception("task cannot be taken up", extra=named)

    def _admit(self, run: Run, context: contextvars.Context) -> None:
        self._runs[run.spec.tenant, run.spec.task_id] = run
        if run.has_to_wait or not self._has_models.is_set():
            watch = self.spawn(self._follow(run), context)
            self._followers[run] = replace(self._waiting(run, context), watch=watch)
        else:
            self._place(run, context)

    async def _follow(self, run: Run) -> None:
        """Stand aside, in nobody's place, until there are models and the task before it has
        ended."""
        try:
            await self._has_models.wait()
            await run.passed()
        except Exception:
            log.exception("not waited to the end", extra={"task_id": run.spec.task_id})
        if (waiting := self._followers.pop(run, None)) is not None:
            self._place(run, waiting.leave())

    def _place(self, run: Run, context: contextvars.Context) -> None:
        if self._free or run.spec.parent_task_id:
            self._occupy(run)
            self._start(run, context)
        else:
            self._queue[run] = self._waiting(run, context)

    def _waiting(self, run: Run, context: contextvars.Context) -> _Waiting:
        """Stand in a queue, but not beyond the task's deadline."""
        loop = asyncio.get_running_loop()
        expiry = loop.call_at(run.deadline, self._hurry, run)
        return _Waiting(context, expiry, loop.time())

    def _hurry(self, run: Run) -> None:
        """One that waits and is to end has its end written at once."""
        if run in self._queue:
            self._occupy(run)
            self._leave_queue(run)
        elif (waiting := self._followers.pop(run, None)) is not None:
            self._occupy(run)
            self._start(run, waiting.leave())

    def _occupy(self, run: Run) -> None:
        if run.spec.parent_task_id:
            self._children += 1
        else:
            self._running += 1

    def _leave_queue(self, run: Run) -> None:
        self._start(run, self._queue.pop(run).leave())

    def _start(self, run: Run, context: contextvars.Context) -> None:
        self.spawn(self._execute(run), context)

    async def _execute(self, run: Run) -> None:
        concerning.set({"task_id": run.spec.task_id})
        try:
            with run.world.traced(run.task, run.claim):
                await run.execute()
        finally:
            self._forget(run)
            if run.spec.parent_task_id:
                self._children -= 1
            else:
                self._next()

    def _forget(self, run: Run) -> None:
        self._runs.pop((run.spec.tenant, run.spec.task_id), None)
        if not run.is_lost or self._is_stopping:
            return
        if run.claim is not None:
            self._given_up.append(run.claim)
        if run.canceled is not None:
            self.spawn(self._cancel_again(run, run.canceled))

    async def _cancel_again(self, run: Run, reason: str) -> None:
        """Its end could not be written, or it had begun to wait: whoever goes on has to know."""
        tenant, task_id = run.spec.tenant, run.spec.task_id
        kind, body = written(Cancel(reason))
        try:
            await patiently(lambda: self._desk.send(tenant, task_id, kind, body, is_last=True))
            if (claim := await self._desk.take(tenant, task_id)) is not None:
                await self.read_letters(await self.take_up(run.world, claim))
        except ServiceError as error:
            named = {"task_id": task_id, "error_code": error.reason}
            log.warning("cancel not passed on", extra=named)
        except Exception:
            log.exception("cancel not passed on", extra={"task_id": task_id})

    def _next(self) -> None:
        """The place of a run that ended goes to the one that waits longest.

        One that was hurried had a place beyond those there are, which goes to nobody.
        """
        is_spare = self._running > self._sizes.max_running
        if self._queue and not is_spare and not self._is_stopping:
            self._leave_queue(next(iter(self._queue)))
        else:
            self._running -= 1


@asynccontextmanager
async def working(desk: Desk, sizes: Sizes) -> AsyncIterator[Worker]:
    """A worker; on leaving, what still runs is stopped where it is and handed over."""
    async with asyncio.TaskGroup() as group:
        worker = Worker(group, desk, sizes)
        try:
            yield worker
        finally:
            await worker.stop()


@asynccontextmanager
async def on_duty(worker: Worker, world: World, are_there: Ask = at_once) -> AsyncIterator[None]:
    """Keep the worker's claims and look for work, until the context is left. What it finds goes on
    from when on models are there."""
    async with asyncio.TaskGroup() as group:
        duties: Sequence[asyncio.Task[None]] = (
            group.create_task(worker.wait_for_models(are_there)),
            group.create_task(worker.keep_claims()),
            group.create_task(worker.look_around(world)),
        )
        try:
            yield
        finally:
            for duty in duties:
                duty.cancel()
