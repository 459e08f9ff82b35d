"""What callers can do with tasks."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from services.chassis import ids
from services.chassis.errors import (
    AlreadyExists,
    DeadlineExceeded,
    InvalidArgument,
    Violation,
    invalid,
)
from services.chassis.eventlog.port import Condition, Key
from services.orchestrator.domain import events as ev
from services.orchestrator.domain import request as rq
from services.orchestrator.domain.prompt import conversation, most_bytes
from services.orchestrator.domain.task import Task, check_cancel
from services.orchestrator.equipment import Equipment
from services.orchestrator.ports import Desk, Model
from services.orchestrator.run import Run, World
from services.orchestrator.worker import CANCEL, Worker

LEAST_OUTPUT_TOKENS: Final = 16
KEYS_LAST: Final = timedelta(hours=24)
MARGIN: Final = timedelta(milliseconds=50)  # To answer in before the caller's deadline, or 5 %.


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, under which trace, and how long the caller waits."""

    tenant: str
    subject: str
    trace_id: str
    time_left: timedelta | None


@dataclass(frozen=True, slots=True)
class Bounds:
    """What requests may ask for."""

    max_query_bytes: int
    default_steps: int


@dataclass(frozen=True, slots=True)
class Started:
    """A task that was asked for."""

    task: Task
    run: Run | None
    """Its run; None for one that was begun by an earlier request."""


class Tasks:
    """Starts, shows, follows and cancels tasks."""

    def __init__(self, world: World, worker: Worker, desk: Desk, bounds: Bounds) -> None:
        self._world = world
        self._worker = worker
        self._desk = desk
        self._bounds = bounds

    async def invoke(
        self, request: rq.Request, caller: Caller, *, default_timeout: timedelta
    ) -> Task:
        """Run a query to its end. Being cancelled cancels the task, unless it is to go on.

        Raises:
            ServiceError: the request is refused; there is no task then.
        """
        started = await self._start(request, caller, default_timeout)
        try:
            async with asyncio.timeout(_patience(started.task.spec, caller)):
                if started.run is not None:
                    return await self._ended(started.run)
                spec = started.task.spec
                return await self._watched(spec.tenant, spec.task_id, 0)
        except TimeoutError:
            raise _continues(started.task.spec.task_id) from None
        finally:
            self._leave(started)

    async def stream(
        self, request: rq.Request, caller: Caller, *, default_timeout: timedelta
    ) -> AsyncGenerator[bytes, None]:
        """Run a query and yield its task's events. Closing the generator is as for `invoke`."""
        started = await self._start(request, caller, default_timeout)
        task_id = started.task.spec.task_id
        try:
            async with aclosing(self._world.log.watch(caller.tenant, task_id, after=0)) as events:
                async for event in events:
                    yield event
        finally:
            self._leave(started)

    async def create(
        self, request: rq.Request, caller: Caller, *, default_timeout: timedelta
    ) -> Task:
        """Start a task that goes on by itself; the task as it stands now."""
        rq.check(request, max_query_bytes=self._bounds.max_query_bytes)
        going_on = replace(request, on_disconnect="continue")
        return (await self._start(going_on, caller, default_timeout)).task

    async def page(
        self, caller: Caller, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """Tasks of the caller's tenant, the newest first, as they go over the wire."""
        return await self._world.log.page(caller.tenant, where, after=after, limit=limit)

    async def get(self, caller: Caller, task_id: str) -> Task:
        """A task as it stands."""
        if (run := self._worker.find(caller.tenant, task_id)) is not None:
            return run.task
        return await self._world.log.load(caller.tenant, task_id)

    def watch(self, caller: Caller, task_id: str, *, after: int) -> AsyncGenerator[bytes, None]:
        """A task's events after a sequence, until its end."""
        if after < 0:
            fix = "send 0 for all, or the sequence of the last event you have"
            raise invalid(Violation("after_sequence", "is negative", fix))
        return self._world.log.watch(caller.tenant, task_id, after=after)

    async def cancel(self, caller: Caller, task_id: str, *, reason: str) -> Task:
        """Cancel a task; the task once it has ended."""
        if len(reason) > 256:
            raise invalid(Violation("reason", "is too long", "send at most 256 characters"))
        task = await self.get(caller, task_id)
        if not check_cancel(task):
            return task
        task = await self._cancel(task, reason)
        check_cancel(task)  # It may have ended otherwise in the meantime.
        return task

    async def _cancel(self, task: Task, reason: str) -> Task:
        """Have whoever works on a task end it: this process, itself if nobody does, or another."""
        tenant, task_id = task.spec.tenant, task.spec.task_id
        run = self._worker.find(tenant, task_id)
        if run is None and (claim := await self._desk.take(tenant, task_id)) is not None:
            run = await self._worker.take_up(self._world, claim)
        if run is None:
            await self._desk.send(tenant, task_id, CANCEL, reason)
            return await self._watched(tenant, task_id, task.sequence)
        self._worker.cancel(run, reason)
        return await self._ended(run)

    async def _ended(self, run: Run) -> Task:
        """A task once it has ended, here or elsewhere."""
        await run.done.wait()
        if not run.is_lost:
            return run.task
        return await self._watched(run.spec.tenant, run.spec.task_id, run.task.sequence)

    async def _watched(self, tenant: str, task_id: str, after: int) -> Task:
        async with aclosing(self._world.log.watch(tenant, task_id, after=after)) as events:
            async for _ in events:
                pass
        return await self._world.log.load(tenant, task_id)

    async def _start(
        self, request: rq.Request, caller: Caller, default_timeout: timedelta
    ) -> Started:
        """A new task, or the one that the request's idempotency key stands for."""
        rq.check(request, max_query_bytes=self._bounds.max_query_bytes)
        if not request.idempotency_key:
            run = await self._begin(request, caller, default_timeout, None)
            return Started(run.task, run)
        owned = f"{caller.subject}/{request.idempotency_key}"
        key = Key("task", owned, request.fingerprint, KEYS_LAST)
        if (known := await self._known(caller, key)) is not None:
            return known
        try:
            run = await self._begin(request, caller, default_timeout, key)
            return Started(run.task, run)
        except AlreadyExists:  # Somebody else began it since.
            if (known := await self._known(caller, key)) is None:
                raise
            return known

    async def _known(self, caller: Caller, key: Key) -> Started | None:
        """The task of a key. Refuses a key that stands for another request."""
        if (kept := await self._world.log.kept(caller.tenant, key)) is None:
            return None
        if kept.fingerprint != key.fingerprint:
            raise AlreadyExists(
                "IDEMPOTENCY_KEY_REUSED",
                f"the idempotency key stands for {kept.stream_id}, which was asked for differently",
                task_id=kept.stream_id,
                field="idempotency_key",
                suggested_fix="send the same request, or another key",
            )
        return Started(await self.get(caller, kept.stream_id), None)

    async def _begin(
        self, request: rq.Request, caller: Caller, default_timeout: timedelta, key: Key | None
    ) -> Run:
        self._worker.check_room()
        if request.response_schema is not None:
            self._world.schemas.check(request.response_schema, field="response_schema")
        equipment = await self._world.catalogues.equip(
            request.model, request.tools, has_tools=request.tool_choice != "none"
        )
        deadline = self._world.now() + _allowed(request, caller, default_timeout)
        spec = self._spec(request, caller, equipment.model, deadline)
        await self._check_fits(spec, equipment)
        return await self._worker.submit(self._world, spec, equipment, key)

    def _spec(
        self, request: rq.Request, caller: Caller, model: Model, deadline: datetime
    ) -> ev.Spec:
        query, history = rq.split(request)
        return ev.Spec(
            task_id=ids.new("task"),
            tenant=caller.tenant,
            owner=caller.subject,
            session_id=ids.new("session"),
            trace_id=caller.trace_id,
            query=query,
            history=tuple(history),
            model=model.name,
            model_version=model.version,
            tools=tuple(request.tools),
            has_tools=request.tool_choice != "none",
            response_schema=request.response_schema,
            sampling=request.sampling,
            limits=ev.Limits(request.steps or self._bounds.default_steps, request.tokens),
            survives_disconnect=request.on_disconnect == "continue",
            labels=request.labels,
            deadline=deadline,
            request=request.source,
        )

    async def _check_fits(self, spec: ev.Spec, equipment: Equipment) -> None:
        """A token is at least a byte, so that a short prompt need not be counted."""
        window = equipment.model.context_tokens - LEAST_OUTPUT_TOKENS
        tools = tuple(equipment.tools.values())
        if most_bytes(spec, tools) <= window:
            return
        messages = conversation(spec, tools, ())
        prompt = await self._world.models.count_tokens(spec.model, messages)
        if prompt > window:
            raise InvalidArgument(
                "CONTEXT_WINDOW_EXCEEDED",
                f"the prompt has {prompt} tokens; {spec.model} takes {window} with room to answer",
                prompt_tokens=str(prompt),
                limit_tokens=str(window),
                model=spec.model,
                field="query",
                suggested_fix="shorten the query or the messages, or allow fewer tools",
            )

    def _leave(self, started: Started) -> None:
        """The caller has gone; who only joined a task leaves it alone."""
        run = started.run
        if run is not None and not run.done.is_set() and not run.spec.survives_disconnect:
            self._worker.cancel(run, "the caller went away")


def _patience(spec: ev.Spec, caller: Caller) -> float | None:
    """How long to wait for a task that outlasts its caller, in seconds; others end in time."""
    if not spec.survives_disconnect or caller.time_left is None:
        return None
    return (caller.time_left - _margin(caller.time_left)).total_seconds()


def _margin(left: timedelta) -> timedelta:
    return max(MARGIN, left * 0.05)


def _continues(task_id: str) -> DeadlineExceeded:
    return DeadlineExceeded(
        "TASK_CONTINUES",
        f"{task_id} is not done yet, and goes on",
        task_id=task_id,
        suggested_fix=f"get or watch {task_id}, or wait longer",
    )


def _allowed(request: rq.Request, caller: Caller, default: timedelta) -> timedelta:
    """How long the task may take: the answer has to be out before the caller stops waiting."""
    asked = default if request.timeout_ms is None else timedelta(milliseconds=request.timeout_ms)
    if caller.time_left is None or request.on_disconnect == "continue":
        return asked
    in_time = caller.time_left - _margin(caller.time_left)
    return max(timedelta(milliseconds=1), min(asked, in_time))
