"""Calls of agents, on behalf of a run: each is a task of its own, and its answer the result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from services.chassis.errors import (
    FailedPrecondition,
    NotFound,
    ServiceError,
    Violation,
    invalid,
)
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.agent import agent_of
from services.orchestrator.domain.large import Large
from services.orchestrator.domain.letters import Moved
from services.orchestrator.domain.task import Call, State, Task
from services.orchestrator.domain.tool import Tool
from services.orchestrator.journal import Journal
from services.orchestrator.ports import Children, Errand
from services.orchestrator.toolports import Returned

LOOK_SECONDS: Final = 60.0
"""How long a task that waits for its children trusts that it is told when they go on."""
GRACE: Final = timedelta(minutes=1)
"""How much longer it waits than they do: it is told that nobody answered them."""
MAX_DEPTH: Final = 4
"""So many tasks may stand above one."""
MAX_ANSWER_CHARACTERS: Final = 16_000
"""Of a child's answer that its parent keeps; the whole is in the child's own log."""


class Delegate:
    """Has the calls of a task's step done by agents."""

    def __init__(
        self,
        children: Children,
        journal: Journal,
        now: Callable[[], datetime],
        given: Mapping[str, Tool],
    ) -> None:
        """The journal's task stands with the calls of the step, and none of them returned yet that
        did not return before. It was given these tools."""
        self._children = children
        self._journal = journal
        self._task = journal.task
        self._now = now
        self._agents = {tool.name: tool.agent_id for tool in given.values() if tool.agent_id}

    async def call(self, called: Call) -> Returned:
        """Have an agent do it, as far as its task comes before it waits for somebody. A call whose
        task has begun already waits for that one.

        Raises:
            ServiceError: it was refused.
        """
        spec = self._task.spec
        task_id = called.child_task_id or await self._children.begin(self._errand(called))
        if not called.child_task_id:
            started = ev.ChildStarted(self._now(), *self._task.at, called.call_id, task_id)
            await self._journal.append(started)
        child = await self._children.still(spec.tenant, task_id)
        return _returned(child)

    def _errand(self, called: Call) -> Errand:
        spec = self._task.spec
        if spec.depth >= MAX_DEPTH:
            raise FailedPrecondition(
                "AGENT_DEPTH_EXCEEDED",
                f"{spec.depth} tasks stand above this one: its agent may call no other",
                depth=str(spec.depth),
                suggested_fix="answer without another agent",
            )
        agent_id = self._agents[called.tool]
        return Errand(
            parent=spec,
            call_id=called.call_id,
            agent_id=agent_id,
            query=_query(called.input),
            tokens=self._tokens(),
            cost_usd=self._cost_usd(),
            until=self._journal.task.deadline,
        )

    def _tokens(self) -> int | None:
        """Of the tokens that are left: as much for each of the agents that are called at once."""
        if (allowed := self._task.spec.limits.tokens) is None:
            return None
        share = (allowed - self._task.tokens) // self._at_once
        if share >= 1:
            return share
        raise _spent("TOKEN_LIMIT_REACHED", "limits.tokens", allowed, self._task.tokens)

    def _cost_usd(self) -> float | None:
        """The same, of what it may cost."""
        if (allowed := self._task.spec.limits.cost_usd) is None:
            return None
        if (share := (allowed - self._task.cost_usd) / self._at_once) > 0:
            return share
        raise _spent("COST_LIMIT_REACHED", "limits.cost_usd", allowed, self._task.cost_usd)

    @property
    def _at_once(self) -> int:
        return max(1, sum(call.tool in self._agents for call in self._task.unreturned))


def _spent(reason: str, field: str, allowed: float, used: float) -> FailedPrecondition:
    return FailedPrecondition(
        reason,
        f"{field} of {allowed:.9g} leaves nothing for another agent",
        limit=f"{allowed:.9g}",
        used=f"{used:.9g}",
        field=field,
        suggested_fix="answer without another agent",
    )


def _query(given: Mapping[str, object]) -> str:
    query = given.get("query")
    if isinstance(query, str) and query.strip():
        return query
    fix = 'give {"query": what the agent is to do}'
    raise invalid(Violation("query", "is not a text, or empty", fix))


def _returned(child: Task) -> Returned:
    """What a child came to, as a tool's result; what it waited does not count."""
    task_id = child.spec.task_id
    if child.state is State.WAITING:
        return Returned(None, None, 0.0, child_wants=child.wants)
    latency_ms = (child.update_time - child.create_time - child.waited).total_seconds() * 1000
    if child.state is State.COMPLETED:
        answer = {**_answer(child), "task_id": task_id}
        return Returned(answer, None, latency_ms, child.tokens, child.cost_usd)
    canceled = ev.Failure("CANCELLED", "CHILD_CANCELED", "somebody cancelled it")
    failure = child.failure or canceled
    message = f"{task_id} of {child.spec.agent_id}: {failure.message}"
    failed = replace(failure, message=message)
    return Returned(None, failed, latency_ms, child.tokens, child.cost_usd)


def _answer(child: Task) -> Mapping[str, object]:
    """An answer, or its beginning."""
    if isinstance(child.output, Large) or len(child.text) > MAX_ANSWER_CHARACTERS:
        return {"answer": child.text[:MAX_ANSWER_CHARACTERS], "is_cut": True}
    return {"answer": child.text if child.output is None else child.output}


async def gone_on(task: Task, children: Children) -> Sequence[Moved]:
    """What a task that waits for its children should have been told of them: whoever was to tell it
    may have been lost."""
    waits = [each for each in task.waiting_children if await _waits(task, each, children)]
    return [Moved(each) for each in task.waiting_children if each not in waits]


async def _waits(task: Task, child_task_id: str, children: Children) -> bool:
    """Whether a child waits still, as far as can be seen."""
    try:
        return (await children.look(task.spec.tenant, child_task_id)).state is State.WAITING
    except NotFound:
        return False
    except ServiceError:
        return True


async def after_children(
    task: Task, outcome: ev.Event, children: Children, now: Callable[[], datetime]
) -> ev.Event:
    """A task's end, once the agents have ended that it called and that work for nobody now."""
    calls = [call.call_id for call in task.unreturned if agent_of(call.tool)]
    if not calls:
        return outcome
    why = outcome.reason if isinstance(outcome, ev.Canceled) else ""
    reason = f"{task.spec.task_id} ended" + (f": {why}" if why else "")
    await children.cancel(task.spec, calls, reason[:256])
    return replace(outcome, time=now())
