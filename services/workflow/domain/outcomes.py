"""What came of what a worker did, as the events that come of it. Pure."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from services.chassis.errors import ServiceError
from services.workflow.domain import events as ev
from services.workflow.domain.advance import Decided, advanced, failure_of
from services.workflow.domain.data import MAX_BYTES, is_too_large
from services.workflow.domain.definition import Action, Retry
from services.workflow.domain.instance import SUCCESS, Standing
from services.workflow.domain.passing import check_data, moved
from services.workflow.domain.steps import Ask, Look, Run, Stop, Undo

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


def acted(at: Standing, step: Run | Look, what: Outcome, *, chance: float) -> Decided:
    """An attempt at an action has ended. One that failed is made again, within bounds.

    `chance` (from 0 to below 1) spreads the attempts of many workflows.
    """
    if isinstance(what, Succeeded):
        return _completed(at, step, what)
    attempt, retry = at.instance.attempts + 1, step.action.retry
    if what.is_retryable and attempt < retry.attempts:
        due = at.now + max(backoff(retry, attempt, chance), what.retry_after)
        again = ev.ActionAttemptFailed(
            at.now, step.index, attempt, what.failure, due, is_uncertain=what.is_uncertain
        )
        return advanced(at, again)
    is_uncertain = what.is_uncertain or at.instance.is_uncertain
    failed = ev.ActionFailed(
        at.now, step.index, attempt, what.failure, is_uncertain, what.duration_ms
    )
    return advanced(at, failed)


def _completed(at: Standing, step: Run | Look, what: Succeeded) -> Decided:
    """One whose output cannot be kept has failed, and is undone: it was done."""
    attempt = at.instance.attempts + 1
    if (refused := _unkept(at, step.action, what.output)) is None:
        done = ev.ActionCompleted(at.now, step.index, attempt, what.output, what.duration_ms)
        return advanced(at, done)
    failed = ev.ActionFailed(
        at.now, step.index, attempt, refused, is_uncertain=True, duration_ms=what.duration_ms
    )
    return advanced(at, failed)


def _unkept(at: Standing, action: Action, output: object) -> ev.Failure | None:
    """Why an output cannot be kept, if it cannot."""
    if not action.save_as:
        return _too_large() if is_too_large({"output": output}) else None
    try:
        data = {**at.instance.data, action.save_as: output}
        check_data(at.definition, data, field=f"data.{action.save_as}")
    except ServiceError as error:
        return failure_of(error)
    return None


def _too_large() -> ev.Failure:
    message = f"its output is larger than {MAX_BYTES} bytes"
    return ev.Failure("RESOURCE_EXHAUSTED", "ACTION_OUTPUT_TOO_LARGE", message)


def stopped(at: Standing, step: Stop) -> Decided:
    """An action that was under way, or may have been when its worker was lost, goes on no more."""
    instance = at.instance
    began = instance.retry_at is None or bool(instance.child)
    is_uncertain = began or instance.is_uncertain
    attempt = instance.attempts + 1
    failed = ev.ActionFailed(at.now, step.index, attempt, STOPPED, is_uncertain=is_uncertain)
    return advanced(at, failed)


def child_started(at: Standing, step: Run, workflow_id: str) -> Decided:
    """An action has started the workflow that it is."""
    return advanced(at, ev.ChildStarted(at.now, step.index, step.attempt, workflow_id))


def validated(at: Standing, step: Ask, refusal: ev.Failure | None, validation_ms: float) -> Decided:
    """The validator has answered: why the state may not be left; None: it may."""
    signal, cause = step.request.signal, step.request.cause
    if refusal is not None:
        rejected = ev.ValidationRejected(at.now, signal.target, cause, refusal, validation_ms)
        return advanced(at, rejected)
    cause = SUCCESS if cause == SUCCESS else "validation"
    return advanced(at, moved(at, signal, cause=cause, validation_ms=validation_ms))


def undone(at: Standing, step: Undo, what: Outcome, *, chance: float) -> Decided:
    """A compensation has ended. One that failed is tried again whatever the reason, within bounds;
    then a person has to look at it."""
    if isinstance(what, Succeeded):
        kept = None if is_too_large({"output": what.output}) else what.output
        compensated = ev.ActionCompensated(at.now, step.attempt, kept, what.duration_ms)
        return advanced(at, compensated)
    retry = step.action.retry
    if step.attempt < retry.attempts:
        due = at.now + max(backoff(retry, step.attempt, chance), what.retry_after)
        again = ev.CompensationAttemptFailed(at.now, step.attempt, what.failure, due)
        return advanced(at, again)
    return advanced(at, ev.CompensationFailed(at.now, step.attempt, what.failure))


def backoff(retry: Retry, attempt: int, chance: float) -> timedelta:
    """How long to wait after so many attempts: between half and all of the exponential time."""
    whole = min(retry.initial * retry.factor ** (attempt - 1), retry.maximum)
    return whole * (0.5 + chance / 2)
