"""Runs accepted tasks: so many at once, so many waiting, and no more."""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from services.chassis.errors import ResourceExhausted, Unavailable
from services.orchestrator.domain import events as ev
from services.orchestrator.run import Equipment, Run, World


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A place in the queue."""

    context: contextvars.Context
    expiry: asyncio.TimerHandle


class Worker:
    """Owns the runs of this process. `working` makes one."""

    def __init__(self, group: asyncio.TaskGroup, *, max_running: int, max_queued: int) -> None:
        self._group = group
        self._max_running = max_running
        self._max_queued = max_queued
        self._running = 0
        self._queue: dict[Run, _Waiting] = {}  # In order of arrival.
        self._runs: dict[tuple[str, str], Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    def spawn(
        self, work: Coroutine[None, None, None], context: contextvars.Context | None = None
    ) -> asyncio.Task[None]:
        """Run something in the background, owned by this worker."""
        task = self._group.create_task(work, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def check_room(self) -> None:
        """Refuse before anything is done for a task there is no room for.

        Raises:
            ResourceExhausted: `TOO_MANY_TASKS`, with RetryInfo.
            Unavailable: `SERVICE_STOPPING`.
        """
        if self._is_stopping:
            raise Unavailable("SERVICE_STOPPING", "the service is stopping; try another replica")
        if self._running >= self._max_running and len(self._queue) >= self._max_queued:
            message = f"{self._running} tasks run and {len(self._queue)} wait: there is no room"
            counts = {"running": str(self._running), "queued": str(len(self._queue))}
            full = ResourceExhausted("TOO_MANY_TASKS", message, **counts)
            raise full.after(timedelta(seconds=1))

    async def submit(self, world: World, spec: ev.Spec, equipment: Equipment) -> Run:
        """Accept a task, and run it now or when there is room.

        Raises:
            ResourceExhausted, Unavailable: as `check_room`.
            ServiceError: its log could not be begun; there is no task then.
        """
        self.check_room()
        run = Run(world, spec, equipment)
        must_wait = self._running >= self._max_running
        self._running += not must_wait
        self._runs[spec.tenant, spec.task_id] = run
        try:
            await run.accept(is_queued=must_wait)
        except BaseException:
            self._forget(run)
            if not must_wait:
                self._next()
            raise
        context = contextvars.copy_context()
        if must_wait and self._running >= self._max_running:
            self._wait(run, context)
        else:
            self._running += must_wait
            self._start(run, context)
        return run

    def cancel(self, run: Run, reason: str) -> None:
        """Stop a run; one that waits in the queue ends at once, too."""
        run.cancel(reason)
        self._hurry(run)

    def find(self, tenant: str, task_id: str) -> Run | None:
        """The run of a task that is not ended, if it is here."""
        return self._runs.get((tenant, task_id))

    def stop(self) -> None:
        """Take no more tasks, and stop those that run where they are."""
        self._is_stopping = True
        for waiting in self._queue.values():
            waiting.expiry.cancel()
        for task in self._tasks:
            task.cancel()

    def _wait(self, run: Run, context: contextvars.Context) -> None:
        """Stand in the queue, but not beyond the task's deadline."""
        loop = asyncio.get_running_loop()
        self._queue[run] = _Waiting(context, loop.call_at(run.deadline, self._hurry, run))

    def _hurry(self, run: Run) -> None:
        """One that waits and is to end has its end written at once."""
        if run in self._queue:
            self._running += 1
            self._leave_queue(run)

    def _leave_queue(self, run: Run) -> None:
        waiting = self._queue.pop(run)
        waiting.expiry.cancel()
        self._start(run, waiting.context)

    def _start(self, run: Run, context: contextvars.Context) -> None:
        self.spawn(self._execute(run), context)

    async def _execute(self, run: Run) -> None:
        try:
            await run.execute()
        finally:
            self._forget(run)
            self._next()

    def _forget(self, run: Run) -> None:
        self._runs.pop((run.spec.tenant, run.spec.task_id), None)

    def _next(self) -> None:
        """The place of a run that ended goes to the one that waits longest.

        One that was hurried had a place beyond those there are, which goes to nobody.
        """
        is_spare = self._running > self._max_running
        if self._queue and not is_spare and not self._is_stopping:
            self._leave_queue(next(iter(self._queue)))
        else:
            self._running -= 1


@asynccontextmanager
async def working(*, max_running: int, max_queued: int) -> AsyncIterator[Worker]:
    """A worker; on leaving, what still runs is stopped where it is."""
    async with asyncio.TaskGroup() as group:
        worker = Worker(group, max_running=max_running, max_queued=max_queued)
        try:
            yield worker
        finally:
            worker.stop()
