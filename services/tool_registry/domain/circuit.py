"""Whether a tool is tried (M. Nygard, Release It!, "Circuit Breaker"); pure, a state machine.

It is *closed* while calls go through. When the target failed too often in a row it is *open*: calls
are refused for a pause. Then it is *half open*: one call, the trial, shows whether it works again.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Final

SPREAD: Final = 0.2
"""By how much a pause is longer at most, so that replicas try at various times."""


class State(StrEnum):
    """Whether calls go through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Event(StrEnum):
    """What a circuit is told."""

    ASKED = "asked"
    """Somebody wants to call."""
    ANSWERED = "answered"
    """The target answered, whatever it said."""
    FAILED = "failed"
    """The target did not answer, or said itself that it is broken."""
    TRIAL_ANSWERED = "trial_answered"
    TRIAL_FAILED = "trial_failed"
    TRIAL_LOST = "trial_lost"
    """The trial ended and showed nothing, as when its caller went away."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When a circuit opens, and for how long."""

    failures: int = 5
    """So many in a row open it."""
    pause: timedelta = timedelta(seconds=10)
    """It is open for so long at first; twice as long after each trial that failed."""
    longest_pause: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Moment:
    """What a step depends on beside circuit and event."""

    policy: Policy
    now: float
    """In seconds, by a clock that never goes back."""
    chance: float
    """Random, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Circuit:
    """What is known of a tool's target."""

    state: State = State.CLOSED
    failures: int = 0
    """How many in a row."""
    pause: timedelta = timedelta(0)
    """The last one, before it was spread."""
    until: float = 0.0
    """When an open circuit lets a trial through."""


CLOSED: Final = Circuit()
"""A circuit that nothing is known against."""

Step = Callable[[Circuit, Moment], Circuit]


def _closed(circuit: Circuit, moment: Moment) -> Circuit:
    return CLOSED


def _counted(circuit: Circuit, moment: Moment) -> Circuit:
    counted = replace(circuit, failures=circuit.failures + 1)
    return counted if counted.failures < moment.policy.failures else _opened(counted, moment)


def _opened(circuit: Circuit, moment: Moment) -> Circuit:
    policy = moment.policy
    pause = min(circuit.pause * 2 or policy.pause, policy.longest_pause)
    until = moment.now + pause.total_seconds() * (1 + SPREAD * moment.chance)
    return replace(circuit, state=State.OPEN, pause=pause, until=until)


def _tried(circuit: Circuit, moment: Moment) -> Circuit:
    is_over = moment.now >= circuit.until
    return replace(circuit, state=State.HALF_OPEN) if is_over else circuit


def _reopened(circuit: Circuit, moment: Moment) -> Circuit:
    """Open as it was: its pause is over, so the next call is the trial."""
    return replace(circuit, state=State.OPEN)


# The whole state machine. A pair that is missing changes nothing: such are calls that began before
# the circuit opened, and end after.
NEXT: Final[dict[tuple[State, Event], Step]] = {
    (State.CLOSED, Event.ANSWERED): _closed,
    (State.CLOSED, Event.FAILED): _counted,
    (State.OPEN, Event.ASKED): _tried,
    (State.HALF_OPEN, Event.TRIAL_ANSWERED): _closed,
    (State.HALF_OPEN, Event.TRIAL_FAILED): _opened,
    (State.HALF_OPEN, Event.TRIAL_LOST): _reopened,
}


def step(circuit: Circuit, event: Event, moment: Moment) -> Circuit:
    """The circuit after an event."""
    move = NEXT.get((circuit.state, event))
    return move(circuit, moment) if move else circuit


def seen(circuit: Circuit, now: float) -> State:
    """The state as callers see it: an open one whose pause is over lets the next call through."""
    is_due = circuit.state is State.OPEN and now >= circuit.until
    return State.HALF_OPEN if is_due else circuit.state
