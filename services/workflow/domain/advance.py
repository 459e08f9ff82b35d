"""What follows by itself: from what was done, from the time, from what was kept. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from services.chassis.errors import ServiceError
from services.workflow.domain import events as ev
from services.workflow.domain.definition import Validator
from services.workflow.domain.evolution import after
from services.workflow.domain.instance import (
    REJECTION,
    SIGNAL,
    SUCCESS,
    Instance,
    Phase,
    Standing,
    is_failure,
)
from services.workflow.domain.passing import passed, resolved
from services.workflow.domain.timing import MILLISECOND

MOST: Final = 256
"""Events that are recorded at once. What else follows is recorded next: there may be a hundred
signals kept, each of which leads through a hundred states."""
GUARDED: Final = 8
"""The same where a validator's expression is evaluated for each, which may take long."""

Decided = tuple[Instance, Sequence[ev.Event]]
"""A workflow after its new events, and those."""

Follows = Callable[[Standing], ev.Event]


def advanced(at: Standing, *events: ev.Event) -> Decided:
    """The instance after these events and what follows from them, and all of the events."""
    result: list[ev.Event] = []
    for event in events:
        at = after(at, event)
        result.append(event)
    while len(result) < MOST and not (len(result) >= GUARDED and _is_guarded(at)):
        is_done = bool(result) and isinstance(result[-1], ev.ActionCompleted)
        if (follows := _rule(at, is_between=is_done)) is None:
            break
        following = _in_turn(at, follows(at))
        at = after(at, following)
        result.append(following)
    return at.instance, result


def _is_guarded(at: Standing) -> bool:
    guard = at.state.guard
    return guard is not None and guard.validator is Validator.CEL and bool(at.instance.deferred)


def is_unsettled(at: Standing) -> bool:
    """Whether something follows by itself that is not recorded: time has passed, or there was more
    than is recorded at once."""
    return _rule(at) is not None


def _rule(at: Standing, *, is_between: bool = False) -> Follows | None:
    """By which rule something follows. `is_between`: an action was done right now, and the next one
    is not begun; it never is if the workflow is to stop."""
    instance = at.instance
    if instance.phase is Phase.COMPENSATING:
        return None if instance.done else _compensated
    if instance.phase is not Phase.ACTIVE:
        return None
    if at.is_acting and not (is_between and at.is_to_stop):
        return None
    return next((follows for applies, follows in _RULES if applies(at)), None)


def _in_turn(at: Standing, event: ev.Event) -> ev.Event:
    """The event, or what comes before it: signals that are kept are not lost without a word."""
    if isinstance(event, ev.Ended | ev.CompensationStarted) and at.instance.deferred:
        return ev.SignalDropped(at.now, at.instance.deferred[0], _TOO_LATE)
    return event


def given_up(
    at: Standing, cause: str, *, by: str = ev.WORKFLOW, failure: ev.Failure | None = None
) -> ev.Event:
    """It ends without having succeeded: what was done is undone first, if anything is."""
    if at.instance.done:
        return ev.CompensationStarted(at.now, cause, by, failure)
    return ev.Ended(at.now, "canceled" if cause == "cancel" else "failed", failure)


def _compensated(at: Standing) -> ev.Event:
    return ev.Ended(at.now, Phase.COMPENSATED.value)


def _canceled(at: Standing) -> ev.Event:
    return given_up(at, "cancel", by=at.instance.cancel.by if at.instance.cancel else "")


def _timed_out(at: Standing) -> ev.Event:
    limit = at.state.timeout
    if limit is None:
        raise KeyError(at.instance.state)
    late_ms = (at.now - at.instance.entered - limit.after) / MILLISECOND
    return ev.Moved(
        at.now, at.instance.state, limit.target, "timeout", ev.TIMER, transition_ms=late_ms
    )


def _failed(at: Standing) -> ev.Event:
    if to := at.state.on_failure:
        return ev.Moved(at.now, at.instance.state, to, "failure", ev.WORKFLOW)
    return given_up(at, "failure", failure=at.instance.failed)


def _ended(at: Standing) -> ev.Event:
    if not is_failure(at.definition, at.instance.state):
        return ev.Ended(at.now, Phase.COMPLETED.value)
    message = f"it reached {at.instance.state}, which is a failure"
    failure = ev.Failure("FAILED_PRECONDITION", "FAILURE_STATE_REACHED", message)
    return given_up(at, "rejection" if at.instance.via == REJECTION else "failure", failure=failure)


def _succeeded(at: Standing) -> ev.Event:
    signal = ev.Signal(target=at.state.on_success, by=ev.WORKFLOW)
    try:
        return passed(at, signal, cause=SUCCESS)
    except ServiceError as error:
        return ev.ValidationRejected(at.now, signal.target, SUCCESS, failure_of(error))


def _obeyed(at: Standing) -> ev.Event:
    """What the first signal that was kept leads to; where it leads nowhere it is dropped."""
    signal = at.instance.deferred[0]
    try:
        return passed(at, resolved(at, signal), cause=SIGNAL)
    except ServiceError as error:
        return ev.SignalDropped(at.now, signal, failure_of(error))


def _leads(at: Standing) -> bool:
    """Whether the first signal that was kept leads somewhere from here."""
    if not at.instance.deferred:
        return False
    try:
        resolved(at, at.instance.deferred[0])
    except ServiceError:
        return False
    return True


def failure_of(error: ServiceError) -> ev.Failure:
    """An error as a log keeps it."""
    metadata: Mapping[str, str] = error.metadata
    fix = metadata.get("suggested_fix", "")
    return ev.Failure(error.code, error.reason, error.message, fix)


_TOO_LATE: Final = ev.Failure(
    "FAILED_PRECONDITION", "WORKFLOW_ALREADY_ENDED", "the workflow ended before it was obeyed"
)

# What follows, of a workflow at work whose actions are done or given up: by the first rule that
# applies. None: nothing does, until the validator has answered.
_RULES: Final[Sequence[tuple[Callable[[Standing], bool], Follows | None]]] = (
    (lambda at: at.instance.cancel is not None, _canceled),
    (lambda at: at.is_timed_out, _timed_out),
    (lambda at: at.instance.failed is not None, _failed),
    (lambda at: at.instance.asked is not None, None),
    (lambda at: at.state.terminal is not None, _ended),
    (_leads, _obeyed),
    (lambda at: bool(at.state.on_success) and not at.instance.is_held, _succeeded),
    (lambda at: bool(at.instance.deferred), _obeyed),
)
