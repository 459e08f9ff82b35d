"""How events change a workflow. The state machine is `NEXT`; everything here is pure."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from services.workflow.domain import events as ev
from services.workflow.domain.data import merged
from services.workflow.domain.definition import Action, Definition
from services.workflow.domain.instance import (
    CLOSED,
    SIGNAL,
    SUCCESS,
    Done,
    Instance,
    Phase,
    Standing,
)

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


def after(at: Standing, event: ev.Event) -> Standing:
    """As it stands after an event. Raises `KeyError` if that cannot happen now."""
    return Standing(at.definition, evolve(at.definition, at.instance, event), at.now)


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
    return _FRESH | {"failure": event.failure, "earlier": instance.failure}


def _asked(definition: Definition, instance: Instance, event: ev.ValidationRequested) -> Changes:
    question = instance.sequence + 1
    return {"asked": event, "question": question, "deferred": _left(instance, event.cause)}


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
    ev.CompensationResumed: lambda _, instance, __: {
        "failure": instance.earlier,
        "earlier": None,
    },
    ev.Ended: lambda _, instance, event: {
        "failure": event.failure or instance.failure,
        "deferred": (),
        "asked": None,
    },
}
