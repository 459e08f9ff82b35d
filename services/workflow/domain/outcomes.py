"""What came of what a worker did, as the events that come of it. Pure."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from services.chassis.errors import ServiceError
from services.workflow.domain import events as ev
from services.workflow.domain.advance import Decided, advanced, failure_of
from services.workflow.domain.data import FIXES, fault
from services.workflow.domain.definition import Action, Kind, Retry
from services.workflow.domain.instance import SUCCESS, Standing
from services.workflow.domain.passing import check_data, moved
from services.workflow.domain.steps import Ask, Look, Run, Stop, Undo, next_step

LONGEST_PAUSE: Final = timedelta(hours=1)
"""However long whoever failed asks to be left alone."""
STOPPED: Final = ev.Failure("CANCELLED", "ACTION_STOPPED", "it was not wanted any more")


@dataclass(frozen=True, slots=True)
class Succeeded:
    """An attempt that did it."""

    output: object
    """JSON."""
    duration_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt that failed."""

    failure: ev.Failure
    is_retryable: bool = False
    """Whether another attempt may do better."""
    is_uncertain: bool = False
    """Whether it may have been done although that is not known."""
    retry_after: timedelta = timedelta(0)
    """How long whoever failed asks to be left alone."""
    duration_ms: float = 0.0


Outcome = Succeeded | Failed

_PASSING: Final = frozenset({"UNAVAILABLE", "ABORTED"})
"""Another attempt may do better, as after RESOURCE_EXHAUSTED that says when (product.md 9)."""
_UNCERTAIN: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN"})
"""It may have been done all the same."""
_UNTRIED: Final = frozenset({"TOOL_CIRCUIT_OPEN"})
"""Reasons of what was not let through, so it was not done."""


def failed(error: ServiceError) -> Failed:
    """An attempt that ended with an error of an RPC, or of what an RPC would have asked."""
    is_full = error.code == "RESOURCE_EXHAUSTED" and error.retry_after is not None
    return Failed(
        failure_of(error),
        is_retryable=is_full or error.code in _PASSING,
        is_uncertain=error.code in _UNCERTAIN and error.reason not in _UNTRIED,
        retry_after=error.retry_after or timedelta(0),
    )


def acted(at: Standing, step: Run | Look, what: Outcome, *, chance: float) -> Decided:
    """An attempt at an action has ended. One that failed is made again, within bounds.

    `chance` (from 0 to below 1) spreads the attempts of many workflows.
    """
    if isinstance(what, Succeeded):
        return _completed(at, step, what)
    attempt, retry = at.instance.attempts + 1, step.action.retry
    if what.is_retryable and attempt < retry.attempts and not at.is_to_stop:
        due = at.now + _pause(retry, attempt, what, chance)
        again = ev.ActionAttemptFailed(
            at.now, step.index, attempt, what.failure, due, is_uncertain=what.is_uncertain
        )
        return advanced(at, again)
    is_uncertain = what.is_uncertain or at.instance.is_uncertain
    event = ev.ActionFailed(
        at.now, step.index, attempt, what.failure, is_uncertain, what.duration_ms
    )
    return advanced(at, event)


def _completed(at: Standing, step: Run | Look, what: Succeeded) -> Decided:
    """One whose output cannot be kept has failed, and is undone: it was done."""
    attempt = at.instance.attempts + 1
    if (refused := _unkept(at, step.action, what.output)) is None:
        done = ev.ActionCompleted(at.now, step.index, attempt, what.output, what.duration_ms)
        return advanced(at, done)
    is_uncertain = _leaves_traces(step.action)
    event = ev.ActionFailed(at.now, step.index, attempt, refused, is_uncertain, what.duration_ms)
    return advanced(at, event)


def _leaves_traces(action: Action) -> bool:
    """Whether it may have been done although that is not recorded. An event is published by being
    recorded."""
    return action.kind is not Kind.EVENT


def _unkept(at: Standing, action: Action, output: object) -> ev.Failure | None:
    """Why an output cannot be kept, if it cannot."""
    if (problem := fault({"output": output})) is not None:
        said = f"its output {problem}"
        return ev.Failure("RESOURCE_EXHAUSTED", "ACTION_OUTPUT_TOO_LARGE", said, FIXES[problem])
    if not action.save_as:
        return None
    try:
        data = {**at.instance.data, action.save_as: output}
        check_data(at.definition, data, field=f"data.{action.save_as}")
    except ServiceError as error:
        return failure_of(error)
    return None


def stopped(at: Standing, step: Run | Stop) -> Decided:
    """An action that was under way, or may have been when its worker was lost, goes on no more."""
    instance = at.instance
    is_begun = instance.retry_at is None or instance.retry_at <= at.now
    is_uncertain = _leaves_traces(step.action) and (is_begun or instance.is_uncertain)
    attempt = instance.attempts + 1
    event = ev.ActionFailed(at.now, step.index, attempt, STOPPED, is_uncertain=is_uncertain)
    return advanced(at, event)


def child_started(at: Standing, step: Run, workflow_id: str) -> Decided:
    """An action has started the workflow that it is."""
    return advanced(at, ev.ChildStarted(at.now, step.index, step.attempt, workflow_id))


def child_ended(at: Standing, workflow_id: str, what: Outcome) -> Decided:
    """The workflow that an action started has ended; nothing, if it is not waited for."""
    step = next_step(at)
    if isinstance(step, Look) and step.child == workflow_id:
        return acted(at, step, what, chance=0.0)
    return at.instance, []


def validated(at: Standing, step: Ask, refusal: ev.Failure | None, validation_ms: float) -> Decided:
    """The validator has answered: why the state may not be left; None: it may. Who asked for it
    stands in the event of the request."""
    signal, cause = step.request.signal, step.request.cause
    if refusal is not None:
        rejected = ev.ValidationRejected(at.now, signal.target, cause, refusal, validation_ms)
        return advanced(at, rejected)
    cause = SUCCESS if cause == SUCCESS else "validation"
    if step.guard.action is not None:
        signal = replace(signal, by=step.guard.action.target)
    return advanced(at, moved(at, signal, cause=cause, validation_ms=validation_ms))


def undone(at: Standing, step: Undo, what: Outcome, *, chance: float) -> Decided:
    """A compensation has ended. One that failed is tried again whatever the reason, within bounds;
    then a person has to look at it."""
    if isinstance(what, Succeeded):
        kept = None if fault({"output": what.output}) else what.output
        compensated = ev.ActionCompensated(at.now, step.attempt, kept, what.duration_ms)
        return advanced(at, compensated)
    retry = step.action.retry
    if step.attempt < retry.attempts:
        due = at.now + _pause(retry, step.attempt, what, chance)
        again = ev.CompensationAttemptFailed(at.now, step.attempt, what.failure, due)
        return advanced(at, again)
    return advanced(at, ev.CompensationFailed(at.now, step.attempt, what.failure))


def _pause(retry: Retry, attempt: int, what: Failed, chance: float) -> timedelta:
    return max(backoff(retry, attempt, chance), min(what.retry_after, LONGEST_PAUSE))


def backoff(retry: Retry, attempt: int, chance: float) -> timedelta:
    """How long to wait after so many attempts: between half and all of the exponential time."""
    most = retry.maximum.total_seconds()
    whole = min(retry.initial.total_seconds() * retry.factor ** (attempt - 1), most)
    return timedelta(seconds=whole * (0.5 + chance / 2))
