"""Spans of tasks. What happens to one is in its log: the log's writer tells its span."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, Final

from services.chassis.eventlog.port import Claim
from services.chassis.tracing import names
from services.chassis.tracing.lives import Lives
from services.chassis.tracing.spans import Facts, Nothing, Span, has_content, serving
from services.orchestrator.adapters.tasklog import EventStoreTaskLog
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.task import Task

# What of a log is an event of the span, and what is said of it: never what somebody wrote.
_EVENTS: Final[dict[type[ev.Event], tuple[str, Callable[[Any], Facts]]]] = {
    ev.StepAbandoned: (
        "retry",
        lambda e: {"step": e.step, "attempt": e.attempt, names.ERROR: e.failure.reason},
    ),
    ev.ModelChanged: (
        "fallback",
        lambda e: {
            "from": e.before,
            "to": e.model,
            names.ERROR: e.failure.reason if e.failure else "",
        },
    ),
    ev.ApprovalAsked: ("approval_asked", lambda e: {names.TOOL: e.tool}),
    ev.ApprovalDecided: (
        "approval_decided",
        lambda e: {names.TOOL: e.tool, "is_approved": e.is_approved},
    ),
    ev.InputAsked: ("input_asked", lambda e: {names.TOOL: e.tool}),
    ev.Waited: ("waiting", lambda e: {"wants": e.wants}),
    ev.Resumed: ("resumed", lambda _: {}),
    ev.Steered: ("steered", lambda _: {}),
    ev.ChildStarted: ("child_started", lambda e: {names.TASK: e.child_task_id}),
    ev.Warned: ("warning", lambda e: {"code": e.code}),
}
_ALWAYS: Final[Facts] = {names.OPERATION: "invoke_agent", names.PROVIDER: "runplane"}


class TaskSpans:
    """The spans of the tasks that run here."""

    def __init__(self) -> None:
        self._lives = Lives()

    def running(self, task: Task, claim: Claim | None) -> AbstractContextManager[None]:
        """`invoke_agent`, for as long as a task runs here. One that was taken up is linked to the
        run before."""
        spec = task.spec
        title = f"invoke_agent {spec.agent_id or 'default'}"
        number = claim.epoch if claim is not None else 1
        of = spec.tenant, spec.task_id
        return self._lives.running(title, _facts(spec), always=_ALWAYS, of=of, number=number)

    def begun(self, task: Task, seconds: float) -> None:
        """The log of a task was begun: by the run of another one, or by the call that is answered
        here."""
        spec = task.spec
        is_child = bool(spec.parent_task_id)
        by = self._lives.of(spec.tenant, spec.parent_task_id) if is_child else serving()
        by.appended(1, seconds)

    def told(self, task: Task, events: Sequence[ev.Event], seconds: float) -> None:
        """This was appended to a task's log in so much time, and this is how it stands."""
        living = self._lives.of(task.spec.tenant, task.spec.task_id)
        if isinstance(living, Nothing):
            return
        living.appended(len(events), seconds)
        for event in events:
            if (known := _EVENTS.get(type(event))) is not None:
                living.event(known[0], known[1](event))
            if (turn := getattr(event, "turn", None)) is not None and turn.is_cached:
                living.event("cache_hit")
        living.set(names.STATE, task.state.value)
        if task.is_closed:
            _ended(living, task)


class TracedTaskLog(EventStoreTaskLog):
    """The logs of tasks, whose appends are known to the spans of their tasks."""

    @cached_property
    def spans(self) -> TaskSpans:
        """The spans of tasks that run here."""
        return TaskSpans()

    def _appended(
        self, before: Task | None, after: Task, events: Sequence[ev.Event], seconds: float
    ) -> None:
        super()._appended(before, after, events, seconds)
        if before is None:
            self.spans.begun(after, seconds)
        else:
            self.spans.told(after, events, seconds)


def _facts(spec: ev.Spec) -> Facts:
    facts: dict[str, str] = {
        names.AGENT: spec.agent_id or "default",
        names.MODEL: spec.model,
        names.CONVERSATION: spec.session_id,
        names.TASK: spec.task_id,
        names.TENANT: spec.tenant,
    }
    if spec.agent_id:
        facts[names.AGENT_ID] = spec.agent_id
    return facts | {names.INPUT: spec.query} if has_content() else facts


def _ended(living: Span | Nothing, task: Task) -> None:
    living.set(names.ANSWERED_BY, task.model)
    living.set(names.TOKENS, task.tokens)
    living.set(names.COST, task.cost_usd)
    if task.failure is not None:
        living.fail(task.failure.reason)
    if has_content():
        living.set(names.OUTPUT, task.text)
