"""Whether a state may be left, and by which event that is recorded. Pure."""

from dataclasses import replace

from services.chassis.errors import FailedPrecondition, InvalidArgument, Violation, invalid
from services.workflow.domain import events as ev
from services.workflow.domain.data import FIXES, fault, merged
from services.workflow.domain.definition import Definition, Guard, Validator
from services.workflow.domain.expressions import compiled
from services.workflow.domain.instance import SIGNAL, Instance, Standing


def resolved(at: Standing, signal: ev.Signal) -> ev.Signal:
    """The signal with the state that it leads to from here.

    Raises:
        FailedPrecondition: `TRANSITION_NOT_ALLOWED`; it leads nowhere from here.
        FailedPrecondition: `APPROVAL_REQUIRED`; a person decides here.
    """
    state = at.state
    target = signal.target or at.definition.target(state.name, signal.event) or ""
    if target not in state.transitions:
        raise not_allowed(at, signal)
    if state.guard is not None and state.guard.validator is Validator.APPROVER:
        raise FailedPrecondition(
            "APPROVAL_REQUIRED",
            f"a person decides how {state.name} is left",
            state=state.name,
            suggested_fix="use :approve or :reject",
        )
    return replace(signal, target=target)


def not_allowed(at: Standing, signal: ev.Signal) -> FailedPrecondition:
    """The error for a signal that leads nowhere; it says what would lead somewhere."""
    state = at.state
    ways = ", ".join(state.transitions) or "nowhere"
    events = ", ".join(sorted({*state.on, *map(at.definition.event_type, state.transitions)}))
    return FailedPrecondition(
        "TRANSITION_NOT_ALLOWED",
        f"{signal.name[:64]} leads nowhere from {state.name}; it can be left to: {ways}",
        field="target" if signal.target else "event",
        state=state.name,
        transitions=ways,
        suggested_fix=f"send a target of: {ways}; or an event of: {events or 'none'}",
    )


def passed(at: Standing, signal: ev.Signal, *, cause: str) -> ev.Moved | ev.ValidationRequested:
    """What is recorded of leaving the state for the signal's target: that it was left, or that its
    validator is asked.

    Raises:
        InvalidArgument: `WORKFLOW_DATA_INVALID`; its data would not fit the definition's schema.
        FailedPrecondition: `TRANSITION_REJECTED`, `EXPRESSION_FAILED`.
    """
    check_payload(at, signal.payload)
    guard = at.state.guard
    if guard is not None and guard.validator in {Validator.TOOL, Validator.AGENT}:
        return ev.ValidationRequested(at.now, signal, cause)
    if guard is not None and guard.validator is Validator.CEL:
        _check_expression(at.instance, guard, signal)
    return moved(at, signal, cause=cause)


def moved(at: Standing, signal: ev.Signal, *, cause: str, validation_ms: float = 0.0) -> ev.Moved:
    """That the state was left for the signal's target."""
    return ev.Moved(
        at.now,
        at.instance.state,
        signal.target,
        cause,
        signal.by,
        signal=signal.name if cause == SIGNAL else signal.event,
        payload=signal.payload,
        comment=signal.comment,
        validation_ms=validation_ms,
    )


def check_payload(at: Standing, payload: ev.Object) -> None:
    """Refuse a payload that cannot be kept, or that would make data of which that is true.

    Raises:
        InvalidArgument: `WORKFLOW_DATA_INVALID`.
    """
    if not payload:
        return
    if (problem := fault(payload)) is not None:
        raise _unkept("payload", problem, problem)
    check_data(at.definition, merged(at.instance.data, payload), field="payload")


def check_data(definition: Definition, data: ev.Object, *, field: str) -> None:
    """Refuse data that the definition's schema forbids, or that cannot be kept.

    Raises:
        InvalidArgument: `WORKFLOW_DATA_INVALID`.
    """
    if (problem := fault(data)) is not None:
        raise _unkept(field, f"makes data that {problem}", problem)
    if definition.schema is not None and (wrong := definition.schema.violations(data)):
        raise invalid(*wrong, reason="WORKFLOW_DATA_INVALID")


def _unkept(field: str, said: str, problem: str) -> InvalidArgument:
    return invalid(Violation(field, said, FIXES[problem]), reason="WORKFLOW_DATA_INVALID")


def variables(
    instance: Instance, *, payload: ev.Object | None = None, target: str = ""
) -> dict[str, object]:
    """What expressions and templates see."""
    spec = instance.spec
    return {
        "data": instance.data,
        "payload": payload or {},
        "target": target,
        "workflow": {
            "id": spec.workflow_id,
            "definition": spec.definition,
            "version": spec.version,
            "state": instance.state,
            "correlation_id": spec.correlation_id,
        },
    }


def _check_expression(instance: Instance, guard: Guard, signal: ev.Signal) -> None:
    known = variables(instance, payload=signal.payload, target=signal.target)
    if compiled(guard.expression).value(known) is not True:
        raise FailedPrecondition(
            "TRANSITION_REJECTED",
            f"the validator of {instance.state} does not let it go to {signal.target}: "
            f"{guard.expression}",
            state=instance.state,
            target=signal.target,
            validator=guard.expression[:200],
            suggested_fix="send a payload or a target that it lets pass; data is as it was before",
        )
