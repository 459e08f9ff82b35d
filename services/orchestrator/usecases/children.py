"""Tasks that tasks begin: agents called as tools."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final, TypeVar

from services.chassis.errors import FailedPrecondition, NotFound, ServiceError
from services.chassis.eventlog.port import Key
from services.chassis.starts import KEYS_LAST
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.letters import Moved
from services.orchestrator.domain.request import Request
from services.orchestrator.domain.task import STILL, Task
from services.orchestrator.ports import Desk, Errand
from services.orchestrator.post import Post
from services.orchestrator.retries import backoff, is_passing
from services.orchestrator.run import Run
from services.orchestrator.uncut import uncut
from services.orchestrator.usecases.caller import Caller
from services.orchestrator.usecases.tasks import Tasks
from services.orchestrator.worker import Worker
from services.orchestrator.world import World

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 2.0
"""How long a child elsewhere is waited for until it may be that nobody works on it any more."""
CANCEL_SECONDS: Final = 5.0
"""How long a child's end is waited for. Whoever works on it has been told by then."""

Value = TypeVar("Value")


class ChildTasks:
    """See `Children`."""

    def __init__(
        self, worker: Worker, desk: Desk, served: Callable[[], tuple[World, Tasks]]
    ) -> None:
        """What is `served` is asked for when it is needed: it needs this first."""
        self._worker = worker
        self._desk = desk
        self._served = served

    async def begin(self, errand: Errand) -> str:
        """See `Children`."""
        world, tasks = self._served()
        parent = errand.parent
        left = max(timedelta(milliseconds=1), errand.until - world.now())
        begun = tasks.start_child(_request(errand), _caller(parent), left, _key(errand.call_id))
        return (await uncut(self._worker.spawn, begun, waits=True)).task.spec.task_id

    async def still(self, tenant: str, task_id: str) -> Task:
        """See `Children`. A store that is away is asked again: whoever waits has a deadline."""
        while True:
            try:
                task = await self._look(tenant, task_id)
            except ServiceError as error:
                if not is_passing(error):
                    raise
                await backoff(1, error)
            else:
                if task.state in STILL:
                    return task

    async def look(self, tenant: str, task_id: str) -> Task:
        """See `Children`."""
        if (run := self._worker.find(tenant, task_id)) is not None:
            return run.task
        world, _ = self._served()
        return await world.log.load(tenant, task_id)

    async def tell_parent(self, child: ev.Spec) -> None:
        """See `Children`."""
        world, _ = self._served()
        post = Post(world, self._worker, self._desk)
        await post.send_anyway(child.tenant, child.parent_task_id, Moved(child.task_id))

    async def cancel(self, parent: ev.Spec, call_ids: Sequence[str], reason: str) -> None:
        """See `Children`."""
        await asyncio.gather(*(self._cancel(parent, call_id, reason) for call_id in call_ids))

    async def _cancel(self, parent: ev.Spec, call_id: str, reason: str) -> None:
        world, tasks = self._served()
        try:
            kept = await world.log.kept(parent.tenant, _key(call_id))
            if kept is not None:
                async with asyncio.timeout(CANCEL_SECONDS):
                    await tasks.cancel(_caller(parent), kept.stream_id, reason=reason)
        except (FailedPrecondition, NotFound):
            return  # It ended before.
        except (ServiceError, TimeoutError) as error:
            facts = {"task_id": parent.task_id, "cause": type(error).__name__}
            log.warning("child not seen to end", extra=facts)

    async def _look(self, tenant: str, task_id: str) -> Task:
        """The child once it has ended or waits here, or after a while as it stands elsewhere."""
        world, _ = self._served()
        run = self._worker.find(tenant, task_id) or await self._taken_up(tenant, task_id)
        if run is not None:
            await run.still.wait()
            if run.task.state in STILL:
                return run.task
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await world.log.until_still(tenant, task_id)
        except TimeoutError:
            pass
        return await world.log.load(tenant, task_id)

    async def _taken_up(self, tenant: str, task_id: str) -> Run | None:
        """The run of a child that lost its worker. One that waits for somebody has none to lose."""
        world, _ = self._served()
        if (await world.log.load(tenant, task_id)).state in STILL:
            return None
        if (claim := await self._desk.take(tenant, task_id)) is None:
            return None
        return await self._worker.take_up(world, claim)


def _key(call_id: str) -> Key:
    """What the task of a call is found by, whoever makes the call again."""
    return Key("child", call_id, "", KEYS_LAST)


def _caller(parent: ev.Spec) -> Caller:
    return Caller(parent.tenant, parent.owner, parent.trace_id, None)


def _request(errand: Errand) -> Request:
    return Request(
        query=errand.query,
        messages=(),
        model="",
        tools=(),
        tool_choice="",
        response_schema=None,
        sampling=ev.Sampling(),
        timeout_ms=None,
        steps=None,
        tokens=errand.tokens,
        cost_usd=errand.cost_usd,
        duration_ms=None,
        on_disconnect="continue",
        on_deadline="",
        client_tools=(),
        approval_tools=errand.parent.approval_tools,
        labels={},
        idempotency_key="",
        fingerprint="",
        source=b"",
        agent_id=errand.agent_id,
        session_id=errand.parent.session_id,
        parent_task_id=errand.parent.task_id,
        depth=errand.parent.depth + 1,
        until=errand.until,
        cache=errand.parent.cache,
    )
