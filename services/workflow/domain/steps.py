"""What a worker does for a workflow next. Pure: it says what, and does nothing."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.workflow.domain import events as ev
from services.workflow.domain.advance import is_unsettled
from services.workflow.domain.definition import Action, Guard
from services.workflow.domain.instance import Done, Instance, Phase, Standing, key_of, undoing

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
    key: str
    child: str = ""
    """The workflow that it started, if that is known."""


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
    key: str
    child: str
    until: datetime
    """When it is time to look, if nobody has said so before."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing, until then; None: until somebody says something."""

    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Over:
    """Nothing ever."""


Step = Run | Stop | Ask | Undo | Look | Rest | Over


def next_step(at: Standing) -> Step:
    """What is to be done now; what follows by itself is recorded before anything is done."""
    if is_unsettled(at):
        return Rest(at.now)
    phase = at.instance.phase
    if phase is Phase.ACTIVE:
        return _at_work(at)
    if phase is Phase.COMPENSATING:
        return _undo(at)
    return Rest() if phase is Phase.COMPENSATION_FAILED else Over()


def _at_work(at: Standing) -> Step:
    instance = at.instance
    if instance.asked is not None:
        return _ask(at, instance.asked)
    if not at.is_acting:
        return Rest(at.until)
    index = instance.next_action
    action, key = at.state.actions[index], _key(instance)
    if at.is_to_stop:
        return Stop(action, index, key, instance.child)
    if instance.retry_at is not None and instance.retry_at > at.now:
        return Rest(min(instance.retry_at, at.until or instance.retry_at))
    if instance.child:
        soon = at.now + CHILD_LOOK
        return Look(action, index, key, instance.child, min(soon, at.until or soon))
    return Run(action, index, instance.attempts + 1, key)


def _key(instance: Instance) -> str:
    return key_of(instance, instance.entry, instance.next_action)


def _ask(at: Standing, request: ev.ValidationRequested) -> Ask:
    guard = at.state.guard
    if guard is None:
        raise KeyError(at.instance.state)
    key = f"{at.instance.spec.workflow_id}/{at.instance.question}/validation"
    return Ask(guard, request, key)


def _undo(at: Standing) -> Step:
    instance = at.instance
    if instance.retry_at is not None and instance.retry_at > at.now:
        return Rest(instance.retry_at)
    done = instance.done[-1]
    key = f"{key_of(instance, done.entry, done.index)}/undo"
    return Undo(undoing(at.definition, done), done, instance.attempts + 1, key)


def is_current(at: Standing, step: Step) -> bool:
    """Whether what comes of a step still concerns the workflow, which may have moved on since, or
    know already what came of it."""
    instance = at.instance
    if isinstance(step, Ask):
        return instance.asked == step.request
    if isinstance(step, Undo):
        is_latest = instance.done[-1:] == (step.done,)
        is_undoing = instance.phase is Phase.COMPENSATING and is_latest
        return is_undoing and step.attempt == instance.attempts + 1
    if isinstance(step, Run | Look | Stop) and not (at.is_acting and step.key == _key(instance)):
        return False
    if isinstance(step, Run):
        return not instance.child and step.attempt == instance.attempts + 1
    return not isinstance(step, Look) or step.child == instance.child
