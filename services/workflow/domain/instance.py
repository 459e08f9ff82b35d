"""A workflow: what its events add up to. The state machine is `NEXT`; everything here is pure."""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from services.workflow.domain import events as ev
from services.workflow.domain.data import merged
from services.workflow.domain.definition import Action, Definition, State, Terminal


class Phase(enum.Enum):
    """What a workflow is about. The value of one that is over is its status."""

    ACTIVE = "active"
    COMPENSATING = "compensating"
    COMPENSATION_FAILED = "compensation_failed"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    COMPENSATED = "compensated"


SIGNAL: Final = "signal"
"""The cause of what a signal asked for."""
SUCCESS: Final = "success"
"""The cause of what follows from the actions' ends."""
REJECTION: Final = "rejection"
"""The cause of what a person decided against."""
CLOSED: Final = frozenset({Phase.COMPLETED, Phase.FAILED, Phase.CANCELED, Phase.COMPENSATED})
"""Nothing goes on by itself any more."""

_AT_WORK: Final = (
    ev.Moved,
    ev.ValidationRequested,
    ev.ValidationRejected,
    ev.SignalDeferred,
    ev.SignalDropped,
    ev.ChildStarted,
    ev.ActionCompleted,
    ev.ActionAttemptFailed,
    ev.ActionFailed,
    ev.CancelRequested,
)
_ENDS: Final = {each.value: each for each in CLOSED}

# The whole state machine. A pair that is missing cannot happen. `None`: the event says which.
NEXT: Final[dict[tuple[Phase | None, type[ev.Event]], Phase | None]] = {
    (None, ev.Started): Phase.ACTIVE,
    **{(Phase.ACTIVE, each): Phase.ACTIVE for each in _AT_WORK},
    (Phase.ACTIVE, ev.Ended): None,
    (Phase.ACTIVE, ev.CompensationStarted): Phase.COMPENSATING,
    (Phase.COMPLETED, ev.CompensationStarted): Phase.COMPENSATING,
    (Phase.FAILED, ev.CompensationStarted): Phase.COMPENSATING,
    (Phase.CANCELED, ev.CompensationStarted): Phase.COMPENSATING,
    (Phase.COMPENSATING, ev.ActionCompensated): Phase.COMPENSATING,
    (Phase.COMPENSATING, ev.CompensationAttemptFailed): Phase.COMPENSATING,
    (Phase.COMPENSATING, ev.CompensationFailed): Phase.COMPENSATION_FAILED,
    (Phase.COMPENSATING, ev.Ended): None,
    (Phase.COMPENSATION_FAILED, ev.CompensationResumed): Phase.COMPENSATING,
    **{(each, ev.ProjectionRepaired): each for each in Phase},
}


@dataclass(frozen=True, slots=True)
class Done:
    """An action that was done, or may have been, and has a compensation."""

    entry: int
    """The sequence of the event that entered its state."""
    state: str
    index: int
    output: object
    is_uncertain: bool = False


@dataclass(frozen=True, slots=True)
class Instance:
    """A workflow as it stands after `sequence` events."""

    spec: ev.Spec
    phase: Phase
    state: str
    """Of the definition."""
    data: ev.Object
    sequence: int
    create_time: datetime
    update_time: datetime
    entry: int
    """The sequence of the event that entered the state."""
    entered: datetime
    via: str = ""
    """What caused it to enter, as in `Moved`; empty in the beginning."""
    is_held: bool = False
    """Whether the validator kept it from going on by itself: it waits for a signal then."""
    next_action: int = 0
    """The index of the state's action that is not done; their number once all are."""
    failed: ev.Failure | None = None
    """Why that action failed for good; nothing more is run in this state then."""
    attempts: int = 0
    """How often that action, or that compensation, has failed."""
    retry_at: datetime | None = None
    is_uncertain: bool = False
    """Whether one of those attempts may have done it."""
    child: str = ""
    """The workflow that the action started."""
    asked: ev.ValidationRequested | None = None
    """What the validator has not answered yet."""
    deferred: tuple[ev.Signal, ...] = ()
    done: tuple[Done, ...] = ()
    """What would be undone, the latest last."""
    cancel: ev.CancelRequested | None = None
    cause: str = ""
    """Why it is, or was, compensated."""
    failure: ev.Failure | None = None
    """Why it failed, or why its compensation did."""

    @property
    def is_closed(self) -> bool:
        """Whether nothing goes on by itself any more."""
        return self.phase in CLOSED


@dataclass(frozen=True, slots=True)
class Standing:
    """A workflow at a moment: all that decisions are made from."""

    definition: Definition
    instance: Instance
    now: datetime

    @property
    def state(self) -> State:
        """The state that it is in."""
        return self.definition.states[self.instance.state]

    @property
    def is_acting(self) -> bool:
        """Whether an action of its state is under way or to be begun."""
        instance = self.instance
        is_left = instance.next_action < len(self.state.actions)
        return instance.phase is Phase.ACTIVE and instance.failed is None and is_left

    @property
    def until(self) -> datetime | None:
        """When its state's time is over."""
        limit = self.state.timeout
        if limit is None or self.instance.phase is not Phase.ACTIVE:
            return None
        return self.instance.entered + limit.after

    @property
    def is_timed_out(self) -> bool:
        """Whether its state's time is over."""
        return self.until is not None and self.until <= self.now

    def after(self, event: ev.Event) -> "Standing":
        """As it stands after an event. Raises `KeyError` if that cannot happen now."""
        return replace(self, instance=evolve(self.definition, self.instance, event))


def undoing(definition: Definition, done: Done) -> Action:
    """How an action that was done is undone. Raises `KeyError` where it has no compensation."""
    compensation = definition.states[done.state].actions[done.index].compensation
    if compensation is None:
        raise KeyError(done)
    return compensation


def key_of(instance: Instance, entry: int, index: int) -> str:
    """The idempotency key of an action: the same over attempts, crashes and replicas."""
    return f"{instance.spec.workflow_id}/{entry}/{index}"


def is_failure(definition: Definition, state: str) -> bool:
    """Whether a state ends the workflow as one that failed."""
    return definition.states[state].terminal is Terminal.FAILURE


Changes = dict[str, Any]
"""Fields of an instance and what they become."""


def evolve(definition: Definition, instance: Instance | None, event: ev.Event) -> Instance:
    """Apply one event. Raises `KeyError` if it cannot happen now: the history is corrupt."""
    phase = NEXT[instance.phase if instance else None, type(event)]
    if isinstance(event, ev.Ended):
        phase = _ENDS[event.status]
    if isinstance(event, ev.Started):
        if event.state not in definition.states:
            raise KeyError(event.state)
        return Instance(
            spec=event.spec,
            phase=Phase.ACTIVE,
            state=event.state,
            data=event.data,
            sequence=1,
            create_time=event.time,
            update_time=event.time,
            entry=1,
            entered=event.time,
        )
    if instance is None or phase is None:
        raise KeyError(type(event))
    make = _CHANGES.get(type(event))
    changes = make(definition, instance, event) if make else {}
    return replace(
        instance,
        phase=phase,
        sequence=instance.sequence + 1,
        update_time=event.time,
        **changes,
    )


def _moved(definition: Definition, instance: Instance, event: ev.Moved) -> Changes:
    if event.previous != instance.state or event.state not in definition.states:
        raise KeyError(event.state)
    return _FRESH | {
        "state": event.state,
        "data": merged(instance.data, event.payload) if event.payload else instance.data,
        "entry": instance.sequence + 1,
        "entered": event.time,
        "via": event.cause,
        "is_held": False,
        "next_action": 0,
        "asked": None,
        "deferred": _left(instance, event.cause),
    }


def _completed(definition: Definition, instance: Instance, event: ev.ActionCompleted) -> Changes:
    action = _current(definition, instance, event)
    data = instance.data
    if action.save_as:
        data = {**data, action.save_as: event.output}
    changes = _FRESH | {"next_action": instance.next_action + 1, "data": data}
    return changes | _to_undo(instance, action, event.output, is_uncertain=False)


def _failed(definition: Definition, instance: Instance, event: ev.ActionFailed) -> Changes:
    action = _current(definition, instance, event)
    changes = _FRESH | {"failed": event.failure}
    if event.is_uncertain:
        changes |= _to_undo(instance, action, {}, is_uncertain=True)
    return changes


def _to_undo(instance: Instance, action: Action, output: object, *, is_uncertain: bool) -> Changes:
    if action.compensation is None:
        return {}
    index = instance.next_action
    done = Done(instance.entry, instance.state, index, output, is_uncertain)
    return {"done": (*instance.done, done)}


def _attempt_failed(
    definition: Definition, instance: Instance, event: ev.ActionAttemptFailed
) -> Changes:
    _current(definition, instance, event)
    return {
        "attempts": event.attempt,
        "retry_at": event.due,
        "is_uncertain": instance.is_uncertain or event.is_uncertain,
        "child": "",
    }


def _child_started(definition: Definition, instance: Instance, event: ev.ChildStarted) -> Changes:
    _current(definition, instance, event)
    return {"child": event.workflow_id, "retry_at": None}


def _current(definition: Definition, instance: Instance, event: ev.ActionEvent) -> Action:
    if event.index != instance.next_action or instance.failed is not None:
        raise KeyError(event.index)
    all_of_them = definition.states[instance.state].actions
    if event.index >= len(all_of_them):
        raise KeyError(event.index)
    return all_of_them[event.index]


def _compensation_started(
    definition: Definition, instance: Instance, event: ev.CompensationStarted
) -> Changes:
    failure = event.failure or instance.failure
    return _FRESH | {"cause": event.cause, "failure": failure, "asked": None, "deferred": ()}


def _compensated(
    definition: Definition, instance: Instance, event: ev.ActionCompensated
) -> Changes:
    if not instance.done:
        raise KeyError("done")
    return _FRESH | {"done": instance.done[:-1]}


def _undo_attempt_failed(
    definition: Definition, instance: Instance, event: ev.CompensationAttemptFailed
) -> Changes:
    return {"attempts": event.attempt, "retry_at": event.due}


def _compensation_failed(
    definition: Definition, instance: Instance, event: ev.CompensationFailed
) -> Changes:
    return _FRESH | {"failure": event.failure}


def _asked(definition: Definition, instance: Instance, event: ev.ValidationRequested) -> Changes:
    return {"asked": event, "deferred": _left(instance, event.cause)}


def _dropped(definition: Definition, instance: Instance, event: ev.SignalDropped) -> Changes:
    if not instance.deferred or instance.deferred[0] != event.signal:
        raise KeyError(event.signal.name)
    return {"deferred": instance.deferred[1:]}


def _left(instance: Instance, cause: str) -> tuple[ev.Signal, ...]:
    """What is still kept. A new signal is kept behind those that are, so one that is obeyed while
    some are kept is the first of them."""
    return instance.deferred[1:] if cause == SIGNAL else instance.deferred


# What an action, or an undoing, leaves behind for the next one.
_FRESH: Final[Changes] = {
    "attempts": 0,
    "retry_at": None,
    "is_uncertain": False,
    "child": "",
    "failed": None,
}

_CHANGES: Final[Mapping[type[ev.Event], Callable[[Definition, Instance, Any], Changes]]] = {
    ev.Moved: _moved,
    ev.ValidationRequested: _asked,
    ev.ValidationRejected: lambda _, instance, event: {
        "asked": None,
        "is_held": instance.is_held or event.cause == SUCCESS,
    },
    ev.SignalDeferred: lambda _, instance, event: {"deferred": (*instance.deferred, event.signal)},
    ev.SignalDropped: _dropped,
    ev.ChildStarted: _child_started,
    ev.ActionCompleted: _completed,
    ev.ActionAttemptFailed: _attempt_failed,
    ev.ActionFailed: _failed,
    ev.CancelRequested: lambda _, __, event: {"cancel": event},
    ev.CompensationStarted: _compensation_started,
    ev.ActionCompensated: _compensated,
    ev.CompensationAttemptFailed: _undo_attempt_failed,
    ev.CompensationFailed: _compensation_failed,
    ev.CompensationResumed: lambda _, __, ___: {"failure": None},
    ev.Ended: lambda _, instance, event: {
        "failure": event.failure or instance.failure,
        "deferred": (),
        "asked": None,
    },
}
