"""What follows by itself: from what was done, from the time, from what was kept. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from services.chassis.errors import ServiceError
from services.workflow.domain import events as ev
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

MOST: Final = 1000
"""Events that follow from one: definitions that go round without a rest are refused, and what is
kept of signals is bounded, so it is never reached."""

Decided = tuple[Instance, Sequence[ev.Event]]
"""A workflow after its new events, and those."""


def advanced(at: Standing, *events: ev.Event) -> Decided:
    """The instance after these events and all that follows from them, and all of the events."""
    result: list[ev.Event] = []
    for event in events:
        at = at.after(event)
        result.append(event)
    while (following := _next(at)) is not None:
        at = at.after(following)
        result.append(following)
        if len(result) > MOST:
            raise RuntimeError(f"{at.definition.name} goes round in circles")
    return at.instance, result


def _next(at: Standing) -> ev.Event | None:
    if at.instance.phase is Phase.COMPENSATING:
        return None if at.instance.done else ev.Ended(at.now, "compensated")
    if at.instance.phase is not Phase.ACTIVE or at.is_acting:
        return None
    for applies, follows in _FOLLOWS:
        if applies(at):
            return follows(at)
    return None


def given_up(
    at: Standing, cause: str, *, by: str = ev.WORKFLOW, failure: ev.Failure | None = None
) -> ev.Event:
    """It ends without having succeeded: what was done is undone first, if anything is."""
    if at.instance.done:
        return ev.CompensationStarted(at.now, cause, by, failure)
    return ev.Ended(at.now, "canceled" if cause == "cancel" else "failed", failure)


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
        return ev.Ended(at.now, "completed")
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


def _waits(at: Standing) -> None:
    """Nothing follows."""


# What follows, of a workflow at work whose actions are done or given up: the first that applies.
_FOLLOWS: Final[
    Sequence[tuple[Callable[[Standing], bool], Callable[[Standing], ev.Event | None]]]
] = (
    (lambda at: at.instance.cancel is not None, _canceled),
    (lambda at: at.is_timed_out, _timed_out),
    (lambda at: at.instance.failed is not None, _failed),
    (lambda at: at.instance.asked is not None, _waits),
    (lambda at: at.state.terminal is not None, _ended),
    (_leads, _obeyed),
    (lambda at: bool(at.state.on_success) and not at.instance.is_held, _succeeded),
    (lambda at: bool(at.instance.deferred), _obeyed),
)
