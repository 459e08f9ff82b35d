"""A workflow: what its events add up to, and what decisions are made from. Pure."""

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.workflow.domain import events as ev
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
    question: int = 0
    """The sequence of that event."""
    deferred: tuple[ev.Signal, ...] = ()
    done: tuple[Done, ...] = ()
    """What would be undone, the latest last."""
    cancel: ev.CancelRequested | None = None
    cause: str = ""
    """Why it is, or was, compensated."""
    failure: ev.Failure | None = None
    """Why it failed, or why its compensation did."""
    earlier: ev.Failure | None = None
    """Why it failed, while its compensation has failed, too."""

    @property
    def is_closed(self) -> bool:
        """Whether nothing goes on by itself any more."""
        return self.phase in CLOSED

    @property
    def is_at_end(self) -> bool:
        """The same, or only if a person wants it."""
        return self.is_closed or self.phase is Phase.COMPENSATION_FAILED


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

    @property
    def is_to_stop(self) -> bool:
        """Whether an action that is under way is not wanted any more."""
        return self.is_acting and (self.instance.cancel is not None or self.is_timed_out)


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
