"""What callers can ask of a workflow, as the events that come of it. Pure: nothing is changed by a
refusal, and each answer is the events and all that follows from them."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from services.chassis.errors import FailedPrecondition, ResourceExhausted, Violation, invalid
from services.workflow.domain import events as ev
from services.workflow.domain.advance import Decided, advanced, is_unsettled
from services.workflow.domain.data import size_bytes
from services.workflow.domain.definition import Definition, Validator
from services.workflow.domain.evolution import evolve
from services.workflow.domain.instance import (
    REJECTION,
    SIGNAL,
    Instance,
    Phase,
    Standing,
    is_failure,
)
from services.workflow.domain.passing import (
    check_data,
    check_payload,
    moved,
    not_allowed,
    passed,
    resolved,
)

TOO_MANY_SIGNALS: Final = "TOO_MANY_SIGNALS"
MOST_DEFERRED: Final = 100
MOST_DEFERRED_BYTES: Final = 1024 * 1024
"""Of their payloads: they are in memory wherever the workflow is."""
APPROVED: Final = "approved"
REJECTED: Final = "rejected"


def started(definition: Definition, spec: ev.Spec, data: ev.Object, now: datetime) -> Decided:
    """Begin a workflow.

    Raises:
        InvalidArgument: `WORKFLOW_DATA_INVALID`.
    """
    check_data(definition, data, field="data")
    event = ev.Started(now, spec, definition.initial, data)
    at = Standing(definition, evolve(definition, None, event), now)
    instance, events = advanced(at)
    return instance, [event, *events]


def signalled(at: Standing, signal: ev.Signal, *, expected_state: str = "") -> Decided:
    """Obey a signal, or keep it until the actions are done.

    Raises:
        FailedPrecondition: `WORKFLOW_ALREADY_ENDED`, `WORKFLOW_STATE_CHANGED`,
            `TRANSITION_NOT_ALLOWED`, `APPROVAL_REQUIRED`, `TRANSITION_REJECTED`,
            `EXPRESSION_FAILED`.
        InvalidArgument: `WORKFLOW_DATA_INVALID`.
        ResourceExhausted: `TOO_MANY_SIGNALS`; so many are kept already.
    """
    _check_active(at.instance)
    _check_expected(at.instance, expected_state)
    if at.is_acting or at.instance.asked is not None or is_unsettled(at):
        return _deferred(at, signal)
    return advanced(at, passed(at, resolved(at, signal), cause=SIGNAL))


def _deferred(at: Standing, signal: ev.Signal) -> Decided:
    if not _leads_from_anywhere(at.definition, signal):
        raise not_allowed(at, signal)
    check_payload(at, signal.payload)
    kept = at.instance.deferred
    if len(kept) >= MOST_DEFERRED:
        message = f"{MOST_DEFERRED} signals are kept already, until its actions are done"
        raise ResourceExhausted(TOO_MANY_SIGNALS, message, limit=str(MOST_DEFERRED))
    if sum(size_bytes(each.payload) for each in (*kept, signal)) > MOST_DEFERRED_BYTES:
        message = f"{len(kept)} signals are kept, and there is no room for the data of this one"
        raise ResourceExhausted(TOO_MANY_SIGNALS, message, limit=str(MOST_DEFERRED_BYTES))
    return advanced(at, ev.SignalDeferred(at.now, signal))


def _leads_from_anywhere(definition: Definition, signal: ev.Signal) -> bool:
    if signal.target:
        return any(signal.target in state.transitions for state in definition.states.values())
    return any(definition.target(state, signal.event) for state in definition.states)


def approved(at: Standing, signal: ev.Signal, *, expected_state: str = "") -> Decided:
    """Leave a state that a person guards.

    Raises:
        FailedPrecondition: `APPROVAL_NOT_PENDING`, `TRANSITION_NOT_ALLOWED`, and those of an
            instance that has ended or moved on.
        InvalidArgument: `INVALID_REQUEST`; it can go more than one way. `WORKFLOW_DATA_INVALID`.
    """
    _check_pending(at, expected_state)
    ways = _ways(at)
    default = ways[0] if len(ways) == 1 else next((way for way in ways if way == APPROVED), "")
    return _decided(at, signal, default, "approval")


def rejected(at: Standing, signal: ev.Signal, *, expected_state: str = "") -> Decided:
    """Decide against it. Raises as `approved`."""
    _check_pending(at, expected_state)
    ways = _ways(at)
    failures = [way for way in ways if is_failure(at.definition, way)]
    default = REJECTED if REJECTED in ways else ""
    if not default and len(failures) == 1:
        default = failures[0]
    return _decided(at, signal, default, REJECTION)


def _ways(at: Standing) -> list[str]:
    """Where a person can send it who does not say where: not where it goes by itself."""
    state = at.state
    by_itself = {state.on_failure, state.timeout.target if state.timeout else ""}
    return [way for way in state.transitions if way not in by_itself] or list(state.transitions)


def _decided(at: Standing, signal: ev.Signal, default: str, cause: str) -> Decided:
    ways = at.state.transitions
    target = signal.target or default
    if not target:
        fix = f"send a target of: {', '.join(ways)}"
        raise invalid(Violation("target", "is needed: there is more than one way", fix))
    if target not in ways:
        raise not_allowed(at, signal)
    check_payload(at, signal.payload)
    return advanced(at, moved(at, replace(signal, target=target), cause=cause))


def canceled(at: Standing, *, by: str, reason: str = "") -> Decided:
    """End it. Nothing new happens to one that is canceled, or is undone because it was.

    Raises:
        FailedPrecondition: `WORKFLOW_ALREADY_ENDED`.
    """
    if at.instance.cancel is not None:
        return at.instance, []
    _check_active(at.instance)
    return advanced(at, ev.CancelRequested(at.now, by, reason))


def compensation_asked(at: Standing, *, by: str, reason: str = "") -> Decided:
    """Undo what it did, or go on with that.

    Raises:
        FailedPrecondition: `WORKFLOW_NOT_COMPENSABLE`; it is at work, or undone.
    """
    phase = at.instance.phase
    if phase is Phase.COMPENSATING:
        return at.instance, []
    if phase is Phase.COMPENSATION_FAILED:
        return advanced(at, ev.CompensationResumed(at.now, by, reason))
    if phase in {Phase.ACTIVE, Phase.COMPENSATED}:
        raise FailedPrecondition(
            "WORKFLOW_NOT_COMPENSABLE",
            f"it is {phase.value}",
            status=phase.value,
            suggested_fix="cancel it" if phase is Phase.ACTIVE else "nothing is left to undo",
        )
    return advanced(at, ev.CompensationStarted(at.now, "request", by, reason=reason))


def reminded(at: Standing) -> Decided:
    """What follows from the time alone."""
    return advanced(at)


def _check_pending(at: Standing, expected_state: str) -> None:
    _check_active(at.instance)
    _check_expected(at.instance, expected_state)
    guard = at.state.guard
    is_pending = guard is not None and guard.validator is Validator.APPROVER
    if not is_pending or at.is_acting or is_unsettled(at):
        raise FailedPrecondition(
            "APPROVAL_NOT_PENDING",
            f"no decision is waited for in {at.instance.state}",
            state=at.instance.state,
            suggested_fix="read it again when its actions are done"
            if is_pending
            else "tell it by :signal, or wait until it is where a person decides",
        )


def _check_active(instance: Instance) -> None:
    if instance.phase is Phase.ACTIVE and instance.cancel is None:
        return
    is_canceling = instance.phase is Phase.ACTIVE and instance.cancel is not None
    status = "canceled" if is_canceling else instance.phase.value
    raise FailedPrecondition(
        "WORKFLOW_ALREADY_ENDED",
        f"the workflow is {status}",
        status=status,
        suggested_fix="start another workflow",
    )


def _check_expected(instance: Instance, expected_state: str) -> None:
    if expected_state and expected_state != instance.state:
        raise FailedPrecondition(
            "WORKFLOW_STATE_CHANGED",
            f"it is in {instance.state}, not in {expected_state[:64]}",
            field="expected_state",
            state=instance.state,
            suggested_fix="read it again",
        )
