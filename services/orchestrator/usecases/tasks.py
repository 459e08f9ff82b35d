"""What callers can do with tasks."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from services.chassis import ids
from services.chassis.errors import (
    InvalidArgument,
    ServiceError,
    Violation,
    invalid,
)
from services.chassis.eventlog.port import Condition, Key
from services.chassis.starts import once, owned
from services.orchestrator import single
from services.orchestrator.domain import events as ev
from services.orchestrator.domain import request as rq
from services.orchestrator.domain.letters import Cancel, GoOn, Pause, written
from services.orchestrator.domain.prompt import conversation, most_bytes
from services.orchestrator.domain.task import Task, check_cancel
from services.orchestrator.equipment import Equipment
from services.orchestrator.marks import Marks
from services.orchestrator.memory import LEAST_OUTPUT_TOKENS
from services.orchestrator.ports import Desk
from services.orchestrator.post import Post
from services.orchestrator.reading import equipped
from services.orchestrator.run import Run
from services.orchestrator.usecases.caller import Caller
from services.orchestrator.worker import GONE, Worker
from services.orchestrator.world import World

MARGIN: Final = timedelta(milliseconds=50)  # To answer in before the caller's deadline, or 5 %.


@dataclass(frozen=True, slots=True)
class Bounds:
    """What requests may ask for."""

    max_query_bytes: int
    default_steps: int
    duration: timedelta
    """How long a task may take that says nothing."""
    large: rq.Texts | None = None
    """How long texts may be that are kept elsewhere; None where there is no elsewhere."""


@dataclass(frozen=True, slots=True)
class Started:
    """A task that was asked for."""

    task: Task
    run: Run | None
    """Its run, if it is here."""
    is_new: bool
    """Whether this request began it; else it joins one that is there."""
    until: datetime | None = None
    """When its caller's time is over, about: who is gone then has not left."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A task at its end; or as it stands, with a mark to wait for it once more."""

    task: Task
    mark: str = ""


class Tasks:
    """Starts, shows, follows and cancels tasks."""

    def __init__(
        self, world: World, worker: Worker, desk: Desk, marks: Marks, bounds: Bounds
    ) -> None:
        self._world = world
        self._marks = marks
        self._worker = worker
        self._desk = desk
        self._bounds = bounds
        self._post = Post(world, worker, desk)

    async def invoke(
        self, request: rq.Request, caller: Caller, *, default_timeout: timedelta
    ) -> Answer:
        """Run a query to its end, or as far as it comes while the caller waits. Being cancelled
        cancels the task, unless it is to go on.

        Raises:
            ServiceError: the request is refused; there is no task then.
        """
        self._check(request)
        started = await self._start(request, caller, _duration(request) or self._bounds.duration)
        timeout = _milliseconds(request.timeout_ms) or default_timeout
        return await self._waited(started, caller, timeout)

    async def continue_(
        self, mark: str, timeout_ms: float | None, caller: Caller, *, default_timeout: timedelta
    ) -> Answer:
        """Wait once more for a task, as `invoke` does; being cancelled leaves it alone."""
        rq.check_timeout(timeout_ms)
        task_id = self._marks.read(mark, tenant=caller.tenant, owner=caller.subject)
        task = await self.get(caller, task_id)
        if task.spec.pauses_at_deadline and not task.is_closed:
            await self._post.send(caller.tenant, task_id, GoOn())
        joined = Started(task, self._worker.find(caller.tenant, task_id), is_new=False)
        return await self._waited(joined, caller, _milliseconds(timeout_ms) or default_timeout)

    async def stream(self, request: rq.Request, caller: Caller) -> AsyncGenerator[bytes, None]:
        """Run a query and yield its task's events. Closing the generator is as for `invoke`."""
        started = await self.start(request, caller)
        task_id = started.task.spec.task_id
        try:
            async with aclosing(self._world.log.watch(caller.tenant, task_id, after=0)) as events:
                async for event in events:
                    yield event
        except (GeneratorExit, asyncio.CancelledError):
            self.leave(started)
            raise

    async def start(self, request: rq.Request, caller: Caller) -> Started:
        """Start a task whose `timeout_ms` is its own. Who has it must `leave` it."""
        self._check(request)
        left, now = caller.time_left, self._world.now()
        until = None if left is None else now + max(timedelta(0), left - MARGIN)
        started = await self._start(request, caller, self._whole(request, caller))
        return replace(started, until=until)

    async def create(self, request: rq.Request, caller: Caller) -> Task:
        """Start a task that goes on by itself; the task as it stands now."""
        self._check(request)
        going_on = replace(request, on_disconnect="continue")
        return (await self._start(going_on, caller, self._whole(going_on, caller))).task

    async def page(
        self, caller: Caller, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """Tasks of the caller's tenant, the newest first, as they go over the wire."""
        return await self._world.log.page(caller.tenant, where, after=after, limit=limit)

    def is_here(self, caller: Caller, task_id: str) -> bool:
        """Whether a task runs in this process, which then knows best how it stands."""
        return self._worker.find(caller.tenant, task_id) is not None

    async def get(self, caller: Caller, task_id: str) -> Task:
        """A task as it stands."""
        if (run := self._worker.find(caller.tenant, task_id)) is not None:
            return run.task
        return await self._world.log.load(caller.tenant, task_id)

    async def advance(self, task: Task) -> Task:
        """A task as it stands, from how it stood before."""
        if (run := self._worker.find(task.spec.tenant, task.spec.task_id)) is not None:
            return run.task
        return await self._world.log.advance(task)

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
        task = await self.end(task, reason)
        check_cancel(task)  # It may have ended otherwise in the meantime.
        return task

    async def end(self, task: Task, reason: str) -> Task:
        """Have a task canceled by whoever works on it: this process, if nobody does, or another."""
        tenant, task_id = task.spec.tenant, task.spec.task_id
        run = self._worker.find(tenant, task_id)
        if run is None and (claim := await self._desk.take(tenant, task_id)) is not None:
            run = await self._worker.take_up(self._world, claim)
        if run is None:
            await self._desk.send(tenant, task_id, *written(Cancel(reason)), is_last=True)
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

    async def _waited(self, started: Started, caller: Caller, timeout: timedelta) -> Answer:
        """A task's end; or when the caller's time is over first, what there is so far."""
        spec = started.task.spec
        try:
            async with asyncio.timeout(_patience(caller, timeout).total_seconds()):
                if started.run is not None:
                    return Answer(await self._ended(started.run))
                return Answer(await self._watched(spec.tenant, spec.task_id, 0))
        except TimeoutError:
            if spec.pauses_at_deadline:
                await self._post.send_anyway(spec.tenant, spec.task_id, Pause())
            task = await self.get(caller, spec.task_id)
            mark = self._marks.made(spec.task_id, tenant=spec.tenant, owner=caller.subject)
            return Answer(task, mark)
        except asyncio.CancelledError:
            self.leave(started)
            raise

    def _whole(self, request: rq.Request, caller: Caller) -> timedelta:
        """How long a task may take whose `timeout_ms` is its own."""
        asked = _milliseconds(request.timeout_ms)
        duration = _duration(request) or asked or self._bounds.duration
        if request.on_disconnect == "continue":
            return duration
        return min(duration, _patience(caller, duration))

    async def _start(self, request: rq.Request, caller: Caller, duration: timedelta) -> Started:
        """A new task, or the one that the request's idempotency key stands for."""
        if not request.idempotency_key:
            run = await self._begin(request, caller, duration, None)
            return Started(run.task, run, is_new=True)
        key = owned("task", caller.subject, request.idempotency_key, request.fingerprint)
        return await self._start_once(request, caller, duration, key)

    async def start_child(
        self, request: rq.Request, caller: Caller, duration: timedelta, key: Key
    ) -> Started:
        """The task that a call of an agent stands for, begun if it is not yet."""
        self._check(request)
        return await self._start_once(request, caller, duration, key)

    async def _start_once(
        self, request: rq.Request, caller: Caller, duration: timedelta, key: Key
    ) -> Started:
        async def find(task_id: str) -> Started:
            run = self._worker.find(caller.tenant, task_id)
            return Started(await self.get(caller, task_id), run, is_new=False)

        async def begin() -> Started:
            run = await self._begin(request, caller, duration, key)
            return Started(run.task, run, is_new=True)

        return await once(key, lambda: self._world.log.kept(caller.tenant, key), find, begin)

    async def _begin(
        self, request: rq.Request, caller: Caller, duration: timedelta, key: Key | None
    ) -> Run:
        self._worker.check_room(is_child=bool(request.parent_task_id))
        if request.response_schema is not None:
            self._world.schemas.check(request.response_schema, field="response_schema")
        await self._check_client_tools(request, caller.tenant)
        session_id = "" if request.call else request.session_id or ids.new("session")
        briefings = self._world.briefings
        request, equipment = await briefings.first(request, caller.tenant, session_id)
        if request.call is not None:
            (tool,) = equipment.tools.values()
            single.check(self._world.schemas, request.call, tool)
            if duration == self._bounds.duration and not single.says_how_long(request):
                duration = max(duration, single.duration(tool))
        deadline = self._world.now() + min(duration, _duration(request) or duration)
        deadline = min(deadline, request.until or deadline)
        rq.check_readable(request, self._bounds.large)
        whole, (request, large) = request, self._world.log.shortened(request)
        spec = self._spec(request, caller, equipment, deadline)
        spec = replace(spec, session_id=session_id, large=large)
        equipment = equipped(equipment, spec, dict(large))
        await self._check_fits(spec, equipment)
        if request.session_id and not request.parent_task_id:
            return await self._begin_turn(whole, spec, equipment, key)
        return await self._submit(whole, spec, equipment, key)

    async def _begin_turn(
        self, whole: rq.Request, spec: ev.Spec, equipment: Equipment, key: Key | None
    ) -> Run:
        """Begin a task as the next turn of its session. Where none begins the turn is given back,
        also when the caller goes away meanwhile."""
        places = self._world.places
        try:
            spec = await places.enter(spec, key, self.end, self._check_queue)
            return await self._submit(whole, spec, equipment, key)
        except BaseException as error:
            leaving = self._world.spawn(places.leave(spec, error))
            if isinstance(error, ServiceError):
                await asyncio.wait([leaving])
            raise

    async def _submit(
        self, whole: rq.Request, spec: ev.Spec, equipment: Equipment, key: Key | None
    ) -> Run:
        await self._keep(whole, spec)
        return await self._worker.submit(self._world, spec, equipment, key)

    async def _keep(self, whole: rq.Request, spec: ev.Spec) -> None:
        """Keep the large texts of a request that nothing but a lost race refuses any more."""
        if spec.large:
            is_child, must_wait = bool(spec.parent_task_id), bool(spec.place.follows)
            self._worker.check_room(is_child=is_child, must_wait=must_wait)
            await self._world.log.keep(spec.tenant, whole, spec.large)

    def _check_queue(self, must_wait: bool) -> None:
        self._worker.check_room(must_wait=must_wait)

    def _check(self, request: rq.Request) -> None:
        bounds = self._bounds
        rq.check(request, max_query_bytes=bounds.max_query_bytes, large=bounds.large)

    async def _check_client_tools(self, request: rq.Request, tenant: str) -> None:
        if not request.client_tools:
            return
        for index, each in enumerate(request.client_tools):
            field = f"client_tools[{index}].input_schema"
            self._world.schemas.check(each.input_schema, field=field)
        names = [each.name for each in request.client_tools]
        await self._world.catalogues.check_free(tenant, names, field="client_tools")

    def _spec(
        self, request: rq.Request, caller: Caller, equipment: Equipment, deadline: datetime
    ) -> ev.Spec:
        query, history = rq.split(request)
        return ev.Spec(
            task_id=ids.new("task"),
            tenant=caller.tenant,
            owner=caller.subject,
            session_id=request.session_id,
            trace_id=caller.trace_id,
            query=query,
            history=tuple(history),
            model=equipment.model.name,
            model_version=equipment.model.version,
            tools=tuple(request.tools),
            has_tools=request.tool_choice != "none",
            response_schema=request.response_schema,
            sampling=request.sampling,
            limits=ev.Limits(
                request.steps or self._bounds.default_steps, request.tokens, request.cost_usd
            ),
            survives_disconnect=request.on_disconnect == "continue",
            pauses_at_deadline=request.on_deadline == "pause",
            client_tools=tuple(request.client_tools),
            approval_tools=tuple(request.approval_tools),
            labels=request.labels,
            deadline=deadline,
            request=request.source,
            agent_id=request.agent_id,
            agent_version=request.agent_version,
            parent_task_id=request.parent_task_id,
            depth=request.depth,
            on_busy=request.on_busy,
            pinned=equipment.pinned,
            call=request.call,
            routed=equipment.routed,
            cache=request.cache,
        )

    async def _check_fits(self, spec: ev.Spec, equipment: Equipment) -> None:
        """A token is at least a byte, so that a short prompt need not be counted."""
        if spec.call is not None:
            return
        own = equipment.model
        if most_bytes(spec, equipment.briefing) <= own.context_tokens - LEAST_OUTPUT_TOKENS:
            return
        model = await self._world.router.widest(own, spec.routed)
        window = model.context_tokens - LEAST_OUTPUT_TOKENS
        messages = conversation(spec, equipment.briefing, ())
        prompt = await self._world.models.count_tokens(model.name, messages)
        if prompt > window:
            raise InvalidArgument(
                "CONTEXT_WINDOW_EXCEEDED",
                f"the prompt has {prompt} tokens; {model.name} takes {window} with room to answer",
                prompt_tokens=str(prompt),
                limit_tokens=str(window),
                model=model.name,
                field="query",
                suggested_fix="shorten the query or the messages, or allow fewer tools",
            )

    def leave(self, started: Started) -> None:
        """The caller has gone; who only joined a task leaves it alone."""
        run, until = started.run, started.until
        if run is None or not started.is_new or run.spec.survives_disconnect:
            return
        if self._worker.is_draining:
            return  # The caller was cut off, and the task goes on elsewhere.
        if until is not None and self._world.now() >= until:
            return  # It waits for somebody, or else it had ended before.
        if not run.done.is_set():
            self._worker.cancel(run, GONE)
        elif run.is_lost:  # It waits, or is somewhere else now.
            word, spec = Cancel(GONE), run.spec
            self._world.spawn(self._post.send_anyway(spec.tenant, spec.task_id, word))


def _patience(caller: Caller, timeout: timedelta) -> timedelta:
    """How long to wait: the answer has to be out before the caller stops waiting."""
    if (left := caller.time_left) is None:
        return timeout
    return max(timedelta(milliseconds=1), min(timeout, left - max(MARGIN, left * 0.05)))


def _duration(request: rq.Request) -> timedelta | None:
    return _milliseconds(request.duration_ms)


def _milliseconds(number: float | None) -> timedelta | None:
    return None if number is None else timedelta(milliseconds=number)
