"""A task: what its events add up to. The state machine is `NEXT`; everything here is pure."""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from services.chassis.errors import FailedPrecondition
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.large import Large
from services.orchestrator.domain.place import Window


class State(enum.Enum):
    """Where a task stands; the value is the word that users see as `status`."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


CHILD: Final = "child"
"""What a call waits for whose own task waits for somebody."""
CLOSED: Final = frozenset({State.COMPLETED, State.FAILED, State.CANCELED})
STILL: Final = CLOSED | {State.WAITING}
"""Where nothing happens in a task by itself."""

# The whole state machine. A pair that is missing cannot happen.
NEXT: Final[dict[tuple[State | None, type[ev.Event]], State]] = {
    (None, ev.Queued): State.PENDING,
    (None, ev.Started): State.RUNNING,
    (State.PENDING, ev.Claimed): State.RUNNING,
    (State.PENDING, ev.Failed): State.FAILED,
    (State.PENDING, ev.Canceled): State.CANCELED,
    (State.RUNNING, ev.ThoughtAdded): State.RUNNING,
    (State.RUNNING, ev.TextAdded): State.RUNNING,
    (State.RUNNING, ev.ToolCalled): State.RUNNING,
    (State.RUNNING, ev.ChildStarted): State.RUNNING,
    (State.RUNNING, ev.ChildChanged): State.RUNNING,
    (State.RUNNING, ev.ToolProgressed): State.RUNNING,
    (State.RUNNING, ev.ToolLogged): State.RUNNING,
    (State.RUNNING, ev.ToolReturned): State.RUNNING,
    (State.RUNNING, ev.ApprovalAsked): State.RUNNING,
    (State.RUNNING, ev.ApprovalDecided): State.RUNNING,
    (State.RUNNING, ev.InputAsked): State.RUNNING,
    (State.RUNNING, ev.InputReceived): State.RUNNING,
    (State.WAITING, ev.InputReceived): State.WAITING,
    (State.RUNNING, ev.InputGiven): State.RUNNING,
    (State.RUNNING, ev.Steered): State.RUNNING,
    (State.RUNNING, ev.Waited): State.WAITING,
    (State.WAITING, ev.Resumed): State.RUNNING,
    (State.WAITING, ev.Failed): State.FAILED,
    (State.WAITING, ev.Canceled): State.CANCELED,
    (State.RUNNING, ev.Answered): State.RUNNING,
    (State.RUNNING, ev.StepAbandoned): State.RUNNING,
    (State.RUNNING, ev.Warned): State.RUNNING,
    (State.RUNNING, ev.ModelChanged): State.RUNNING,
    (State.RUNNING, ev.Completed): State.COMPLETED,
    (State.RUNNING, ev.Failed): State.FAILED,
    (State.RUNNING, ev.Canceled): State.CANCELED,
}


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call of a step, and what came of it; `latency_ms` is None while it runs."""

    call_id: str
    tool: str
    input: Mapping[str, object]
    tool_version: str = ""
    output: object = None
    failure: ev.Failure | None = None
    latency_ms: float | None = None
    wants: str = ""
    """What it waits for before it can run: `approval`, or `input` of the task's client, or what its
    tool asks for. `child`: what the task waits for that does it."""
    is_approved: bool | None = None
    """What was decided, once it was."""
    child_task_id: str = ""
    """The task that does it, where the tool is an agent."""
    requests: Mapping[str, object] | None = None
    """What its tool asked for last."""
    request_state: str = ""
    """What the tool is given back with the answers."""
    received: Mapping[str, object] = field(default_factory=dict)
    """Answers to a part of that, while others are missing."""
    responses: Mapping[str, object] | None = None
    """The answers, once they are all there."""
    rounds: int = 0
    """How often its tool asked."""
    content: Large | None = None
    """Where the result's content blocks are, where those are too large for the log."""

    @property
    def unanswered(self) -> Mapping[str, object]:
        """What of the requests nobody has answered yet."""
        asked = self.requests or {}
        return {name: each for name, each in asked.items() if name not in self.received}

    @property
    def answers(self) -> int:
        """How often it was answered what its tool asked for."""
        return self.rounds - (self.requests is not None and self.responses is None)

    @property
    def has_returned(self) -> bool:
        """Whether nothing more is to come of it."""
        return self.latency_ms is not None


@dataclass(frozen=True, slots=True)
class Step:
    """What the surviving attempt at a step said and did."""

    thought: str = ""
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """A task as it stands after `sequence` events."""

    spec: ev.Spec
    state: State
    sequence: int
    create_time: datetime
    update_time: datetime
    since: datetime
    """When it came to its state."""
    steps: tuple[Step, ...] = ()
    """Finished and current steps that called tools or thought; the answer is not among them."""
    text: str = ""
    """The answer as far as it is produced."""
    output: object = None
    failure: ev.Failure | None = None
    tokens: int = 0
    cost_usd: float = 0.0
    saved_tokens: int = 0
    """Of turns that came from the response cache; they are not among `tokens`."""
    is_cached: bool = False
    """Whether the answer did."""
    thought_ms: float = 0.0
    tool_ms: float = 0.0
    tools_began: datetime | None = None
    time_to_first_token_ms: float | None = None
    spoke_at: datetime | None = None
    """When the model's first word was recorded."""
    warnings: tuple[ev.Warned, ...] = ()
    at: tuple[int, int] = (0, 0)
    """The latest step and attempt; (0, 0) before the first."""
    is_speaking: bool = False
    """Whether that attempt has begun and neither ended nor been abandoned."""
    is_answered: bool = False
    """Whether the answer is whole; only the end is missing then."""
    said: tuple[tuple[int, str], ...] = ()
    """What was said to it on the way, and after how many steps."""
    said_once: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """What of it has a key: by author and key."""
    wants: str = ""
    """In `WAITING`: what it waits for, `approval`, `input`, `child` or `continue`."""
    waits_since: datetime | None = None
    waits_until: datetime | None = None
    waited: timedelta = timedelta(0)
    """How long it has waited in all, which does not count."""
    waits: int = 0
    """How often it has waited."""
    was_paused: bool = False
    """Whether a pause ended, and nothing was said since."""
    window: Window | None = None
    """What its model is shown of its session, once it runs; None for nothing."""
    changed: ev.ModelChanged | None = None
    """How it came to the model that it has now; None for the one that it began with."""

    @property
    def model(self) -> str:
        """The model that answers."""
        return self.changed.model if self.changed else self.spec.model

    @property
    def model_version(self) -> str:
        """Its version."""
        return self.changed.version if self.changed else self.spec.model_version

    @property
    def deadline(self) -> datetime:
        """When it ends at the latest, unless something happens that it waits for."""
        return self.waits_until or self.spec.deadline + self.waited

    @property
    def unreturned(self) -> Sequence[Call]:
        """Calls that were made and have no result: to be made again when a worker was lost."""
        calls = self.steps[-1].calls if self.steps else ()
        return [call for call in calls if not call.has_returned]

    @property
    def pending(self) -> Sequence[Call]:
        """Calls that wait for somebody's word."""
        return () if self.is_closed else [call for call in self.unreturned if call.wants]

    @property
    def waiting_children(self) -> Sequence[str]:
        """The tasks of its calls that wait for somebody, as far as it knows."""
        return [call.child_task_id for call in self.unreturned if call.wants == CHILD]

    def call(self, call_id: str) -> Call | None:
        """A call of any step."""
        calls = (call for step in reversed(self.steps) for call in step.calls)
        return next((call for call in calls if call.call_id == call_id), None)

    @property
    def is_closed(self) -> bool:
        """Whether nothing can happen any more."""
        return self.state in CLOSED


Changes = dict[str, Any]
"""Fields of a task and what they become."""


def evolve(task: Task | None, event: ev.Event) -> Task:
    """Apply one event. Raises `KeyError` if it cannot happen now: the history is corrupt."""
    state = NEXT[task.state if task else None, type(event)]
    if isinstance(event, ev.Queued | ev.Started):
        window = event.window if isinstance(event, ev.Started) else None
        return Task(event.spec, state, 1, event.time, event.time, event.time, window=window)
    if task is None:
        raise KeyError(type(event))
    changes = _CHANGES[type(event)](task, event) if type(event) in _CHANGES else {}
    if state is not task.state:
        changes["since"] = event.time
    if isinstance(event, ev.StepEvent):
        changes |= {
            "at": (event.step, event.attempt),
            "is_speaking": _is_speaking(task, event),
            "was_paused": False,
        }
    return replace(task, state=state, sequence=task.sequence + 1, update_time=event.time, **changes)


_BESIDE: Final = (
    ev.ToolProgressed,
    ev.ToolLogged,
    ev.ToolReturned,
    ev.ChildStarted,
    ev.ChildChanged,
    ev.ApprovalAsked,
    ev.ApprovalDecided,
    ev.InputAsked,
    ev.InputReceived,
    ev.InputGiven,
)


def _is_speaking(task: Task, event: ev.StepEvent) -> bool:
    """Whether the model's turn is still under way after this event."""
    if isinstance(event, _BESIDE) or task.spec.call is not None:
        return task.is_speaking
    return not isinstance(event, ev.Answered | ev.StepAbandoned) and (
        not isinstance(event, ev.ToolCalled) or event.turn is None
    )


def replay(history: Sequence[ev.Event]) -> Task:
    """The task that these events, from the first on, add up to."""
    task: Task | None = None
    for event in history:
        task = evolve(task, event)
    if task is None:
        raise KeyError("a history has at least one event")
    return task


def check_cancel(task: Task) -> bool:
    """Whether there is anything to cancel: False for a task that is canceled already.

    Raises:
        FailedPrecondition: `TASK_ALREADY_ENDED`; it is completed or failed.
    """
    if task.state in (State.COMPLETED, State.FAILED):
        raise FailedPrecondition(
            "TASK_ALREADY_ENDED",
            f"{task.spec.task_id} is {task.state.value} and cannot be cancelled",
            task_id=task.spec.task_id,
            state=task.state.value,
            suggested_fix="nothing is left to stop; get the task to see what came of it",
        )
    return task.state is not State.CANCELED


def _thought(task: Task, event: ev.ThoughtAdded) -> Changes:
    steps = _with_step(task, event.step, thought=event.reasoning)
    return {"steps": steps, "spoke_at": task.spoke_at or event.time}


def _text(task: Task, event: ev.TextAdded) -> Changes:
    return {"text": task.text + event.text, "spoke_at": task.spoke_at or event.time}


def _called(task: Task, event: ev.ToolCalled) -> Changes:
    call = Call(event.call_id, event.tool, event.input, event.tool_version)
    calls = (*task.steps[event.step - 1].calls, call) if len(task.steps) >= event.step else (call,)
    return {
        "steps": _with_step(task, event.step, calls=calls),
        "tools_began": task.tools_began or event.time,
        **_with_turn(task, event.turn),
    }


def _delegated(task: Task, event: ev.ChildStarted) -> Changes:
    return {"steps": _with_call(task, event, child_task_id=event.child_task_id)}


def _child_changed(task: Task, event: ev.ChildChanged) -> Changes:
    return {"steps": _with_call(task, event, wants=CHILD if event.wants else "")}


def _returned(task: Task, event: ev.ToolReturned) -> Changes:
    steps = _with_call(
        task,
        event,
        output=event.output,
        failure=event.failure,
        latency_ms=event.latency_ms,
        content=event.content if isinstance(event.content, Large) else None,
    )
    calls = steps[event.step - 1].calls
    changes: Changes = {
        "steps": steps,
        "tokens": task.tokens + event.tokens,
        "cost_usd": task.cost_usd + event.cost_usd,
    }
    if not all(call.has_returned for call in calls) or task.tools_began is None:
        return changes
    spent = (event.time - task.tools_began).total_seconds() * 1000
    return {**changes, "tools_began": None, "tool_ms": task.tool_ms + spent}


def _approval_asked(task: Task, event: ev.ApprovalAsked) -> Changes:
    return {"steps": _with_call(task, event, wants="approval")}


def _input_asked(task: Task, event: ev.InputAsked) -> Changes:
    if event.requests is None:
        return {"steps": _with_call(task, event, wants="input")}
    call = task.call(event.call_id)
    asked = {
        "requests": event.requests,
        "request_state": event.state,
        "received": {},
        "responses": None,
        "rounds": (call.rounds if call else 0) + 1,
    }
    return {"steps": _with_call(task, event, wants="input", **asked)}


def _input_received(task: Task, event: ev.InputReceived) -> Changes:
    call = task.call(event.call_id)
    before = call.received if call else {}
    return {"steps": _with_call(task, event, received={**before, **event.responses})}


def _input_given(task: Task, event: ev.InputGiven) -> Changes:
    return {"steps": _with_call(task, event, wants="", responses=event.responses)}


def _decided(task: Task, event: ev.ApprovalDecided) -> Changes:
    return {"steps": _with_call(task, event, wants="", is_approved=event.is_approved)}


def _steered(task: Task, event: ev.Steered) -> Changes:
    once = {(event.author, event.key): event.text} if event.key else {}
    return {
        "said": (*task.said, (len(task.steps), event.text)),
        "said_once": {**task.said_once, **once},
    }


def _waited(task: Task, event: ev.Waited) -> Changes:
    return {
        "wants": event.wants,
        "waits_since": event.time,
        "waits_until": event.until,
        "waits": task.waits + 1,
        **_with_turn(task, event.turn),
    }


def _resumed(task: Task, event: ev.Resumed) -> Changes:
    """Tools did not run while the task waited for what they need."""
    passed = event.time - task.waits_since if task.waits_since else timedelta(0)
    began = task.tools_began and task.tools_began + passed
    return {
        "wants": "",
        "waits_since": None,
        "waits_until": None,
        "was_paused": task.wants == "continue",
        "waited": task.waited + passed,
        "tools_began": began,
    }


def _answered(task: Task, event: ev.Answered) -> Changes:
    return {
        "text": event.answer,
        "output": event.output,
        "is_answered": True,
        "is_cached": event.turn is not None and event.turn.is_cached,
        **_with_turn(task, event.turn),
    }


def _abandoned(task: Task, event: ev.StepAbandoned) -> Changes:
    return {"text": "", "steps": task.steps[: event.step - 1], **_with_turn(task, event.turn)}


def _warned(task: Task, event: ev.Warned) -> Changes:
    return {"warnings": (*task.warnings, event)}


def _model_changed(task: Task, event: ev.ModelChanged) -> Changes:
    return {"changed": event}


def _failed(task: Task, event: ev.Failed) -> Changes:
    return {"failure": event.failure, **_with_turn(task, event.turn)}


def _with_step(
    task: Task,
    number: int,
    *,
    thought: str | None = None,
    calls: tuple[Call, ...] | None = None,
) -> tuple[Step, ...]:
    steps = task.steps if len(task.steps) >= number else (*task.steps, Step())
    step = steps[number - 1]
    new = Step(step.thought if thought is None else thought, step.calls if calls is None else calls)
    return (*steps[: number - 1], new)


def _with_call(
    task: Task,
    event: ev.ToolReturned
    | ev.ChildStarted
    | ev.ChildChanged
    | ev.ApprovalAsked
    | ev.ApprovalDecided
    | ev.InputAsked
    | ev.InputReceived
    | ev.InputGiven,
    **changes: Any,
) -> tuple[Step, ...]:
    calls = tuple(
        replace(call, **changes) if call.call_id == event.call_id else call
        for call in task.steps[event.step - 1].calls
    )
    return _with_step(task, event.step, calls=calls)


def _with_turn(task: Task, turn: ev.Turn | None) -> Changes:
    if turn is None:
        return {}
    first = task.time_to_first_token_ms
    return {
        "tokens": task.tokens + turn.tokens,
        "cost_usd": task.cost_usd + turn.cost_usd,
        "saved_tokens": task.saved_tokens + turn.saved_tokens,
        "thought_ms": task.thought_ms + turn.duration_ms,
        "time_to_first_token_ms": turn.time_to_first_token_ms if first is None else first,
    }


_CHANGES: Final[dict[type[ev.Event], Callable[..., Changes]]] = {
    ev.Claimed: lambda _, event: {"window": event.window},
    ev.ThoughtAdded: _thought,
    ev.TextAdded: _text,
    ev.ToolCalled: _called,
    ev.ChildStarted: _delegated,
    ev.ChildChanged: _child_changed,
    ev.ToolReturned: _returned,
    ev.ApprovalAsked: _approval_asked,
    ev.ApprovalDecided: _decided,
    ev.InputAsked: _input_asked,
    ev.InputReceived: _input_received,
    ev.InputGiven: _input_given,
    ev.Steered: _steered,
    ev.Waited: _waited,
    ev.Resumed: _resumed,
    ev.Answered: _answered,
    ev.StepAbandoned: _abandoned,
    ev.Warned: _warned,
    ev.ModelChanged: _model_changed,
    ev.Failed: _failed,
    ev.Canceled: lambda task, event: _with_turn(task, event.turn),
}
