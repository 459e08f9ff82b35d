"""What a worker does for a workflow next. Pure: it says what, and does nothing."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.workflow.domain import events as ev
from services.workflow.domain.definition import Action, Guard
from services.workflow.domain.instance import Done, Phase, Standing, key_of, undoing

CHILD_LOOK: Final = timedelta(seconds=30)
"""How often a workflow looks whether the one that it started has ended, if nobody says so."""


@dataclass(frozen=True, slots=True)
class Run:
    """Do an action."""

    action: Action
    index: int
    attempt: int
    key: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop an action, which may be under way: nobody wants it any more."""

    action: Action
    index: int


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the validator."""

    guard: Guard
    request: ev.ValidationRequested
    key: str


@dataclass(frozen=True, slots=True)
class Undo:
    """Do the compensation of an action."""

    action: Action
    done: Done
    attempt: int
    key: str


@dataclass(frozen=True, slots=True)
class Look:
    """Look whether the workflow that an action started has ended."""

    action: Action
    index: int
    child: str


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing, until then; None: until somebody says something."""

    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Over:
    """Nothing ever."""


Step = Run | Stop | Ask | Undo | Look | Rest | Over


def is_to_stop(at: Standing) -> bool:
    """Whether an action that is under way is not wanted any more."""
    return at.is_acting and (at.instance.cancel is not None or at.is_timed_out)


def next_step(at: Standing) -> Step:
    """What is to be done now, once everything that follows by itself has been recorded."""
    instance = at.instance
    if instance.phase is Phase.ACTIVE:
        return _at_work(at)
    if instance.phase is Phase.COMPENSATING and instance.done:
        return _undo(at)
    return Rest() if instance.phase is Phase.COMPENSATION_FAILED else Over()


def _at_work(at: Standing) -> Step:
    instance = at.instance
    if instance.asked is not None:
        return _ask(at, instance.asked)
    if not at.is_acting:
        return Rest(at.until)
    index = instance.next_action
    action = at.state.actions[index]
    if is_to_stop(at):
        return Stop(action, index)
    if instance.retry_at is not None and instance.retry_at > at.now:
        return Rest(min(instance.retry_at, at.until or instance.retry_at))
    if instance.child:
        return Look(action, index, instance.child)
    return Run(action, index, instance.attempts + 1, key_of(instance, instance.entry, index))


def _ask(at: Standing, request: ev.ValidationRequested) -> Ask:
    guard = at.state.guard
    if guard is None:
        raise KeyError(at.instance.state)
    asked_ms = int(request.time.timestamp() * 1000)
    key = f"{at.instance.spec.workflow_id}/{at.instance.entry}/validation/{asked_ms}"
    return Ask(guard, request, key)


def _undo(at: Standing) -> Step:
    instance = at.instance
    if instance.retry_at is not None and instance.retry_at > at.now:
        return Rest(instance.retry_at)
    done = instance.done[-1]
    key = f"{key_of(instance, done.entry, done.index)}/undo"
    return Undo(undoing(at.definition, done), done, instance.attempts + 1, key)


def is_running(at: Standing) -> bool:
    """Whether it does something, or is about to, for whoever asks for its status; else it waits."""
    instance, state = at.instance, at.state
    if at.is_acting:
        return not instance.child
    is_going_on = bool(state.on_success) and not instance.is_held
    is_ending = state.terminal is not None or instance.failed is not None
    return is_ending or is_going_on or instance.asked is not None or bool(instance.deferred)


def is_current(at: Standing, step: Step) -> bool:
    """Whether what comes of a step still concerns the workflow, which may have moved on since."""
    instance = at.instance
    if isinstance(step, Ask):
        return instance.asked == step.request
    if isinstance(step, Undo):
        return instance.phase is Phase.COMPENSATING and instance.done[-1:] == (step.done,)
    if isinstance(step, Run):
        key = key_of(instance, instance.entry, instance.next_action)
        return at.is_acting and key == step.key
    if isinstance(step, Look | Stop):
        return at.is_acting and instance.next_action == step.index
    return True
