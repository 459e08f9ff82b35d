"""A workflow's definition: a state machine as data. Made by `parsing`, checked by `checks`; what is
here is only its shape. Six words, used everywhere:

A *definition* has *states*. An *instance* is one run of a definition, and is in one state. Entering
a state runs its *actions*, one after another. A *transition* leads from one state to another; the
*validator* of a state guards its leaving. A *compensation* undoes an action that was completed.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from services.chassis.schema import Schema


class Kind(enum.Enum):
    """What an action does; the value is the word that definitions use for it."""

    TOOL = "tool"
    """Calls a tool. Its output is the tool's result."""
    AGENT = "agent"
    """Runs an agent as a task. Its output is `{"answer", "output", "task_id"}`."""
    WORKFLOW = "workflow"
    """Starts another workflow and waits for its end. Its output is `{"workflow_id", "status",
    "data"}`; one that does not complete is a failure."""
    EVENT = "event"
    """Publishes an event to the definition's event source. Its output is its payload."""


class Terminal(enum.Enum):
    """How a workflow ends that reaches a terminal state."""

    SUCCESS = "success"
    FAILURE = "failure"
    """What was done is compensated first."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often something is tried, and how long is waited between: exponential with jitter."""

    attempts: int = 3
    initial: timedelta = timedelta(milliseconds=500)
    factor: float = 2.0
    maximum: timedelta = timedelta(seconds=30)


RETRY: Final = Retry()


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that is done on entering a state, or to undo one."""

    name: str
    """Unique among the state's actions; `{target}` or `{target}_{number}` where none is given."""
    kind: Kind
    target: str
    """The tool, agent or workflow, or the type of the event."""
    version: str = ""
    """Of a tool, exact or a range; of a workflow, its number; empty for the newest when it is
    called."""
    input: Mapping[str, object] = field(default_factory=dict)
    """A template: see `expressions.filled`. Of an agent, `query` in it is what it is asked and
    `response_schema`, if there, is the schema of its output; of a workflow, it is its `data`; of an
    event, its payload."""
    save_as: str = ""
    """The member of the instance's data that its output becomes; empty: it is not kept there."""
    timeout: timedelta = timedelta(seconds=300)
    """For one attempt, of a tool or an agent; the others have none."""
    retry: Retry = RETRY
    compensation: "Action | None" = None
    """Never has one itself. Its template also sees the action's `output`."""


class Validator(enum.Enum):
    """Who or what guards the leaving of a state."""

    APPROVER = "approver"
    """A person, by ApproveTransition and RejectTransition."""
    CEL = "cel"
    """An expression over `data`, `payload` and `target`; true lets pass."""
    TOOL = "tool"
    """A tool whose result has `valid` (and may have `reason`)."""
    AGENT = "agent"
    """An agent whose output has `valid` (and may have `reason`)."""


@dataclass(frozen=True, slots=True)
class Guard:
    """A state's validator."""

    validator: Validator
    expression: str = ""
    """Of CEL."""
    action: Action | None = None
    """Of a tool or an agent: how it is called. Its template also sees `payload` and `target`."""


@dataclass(frozen=True, slots=True)
class Timeout:
    """Where an instance goes that has stayed in a state for so long. It passes the guard by, and
    ends actions that still run there."""

    after: timedelta
    target: str


@dataclass(frozen=True, slots=True)
class State:
    """A state. One that no transition leaves is terminal, declared or not."""

    name: str
    transitions: tuple[str, ...] = ()
    """Where it can be left to, in the order of the definition; `on_success`, `on_failure`, `on` and
    the timeout's target among them."""
    on: Mapping[str, str] = field(default_factory=dict)
    """Names of events, and the transition that each means here."""
    actions: tuple[Action, ...] = ()
    """`on_enter` in definitions."""
    on_success: str = ""
    """Where it is left to when all its actions are done; empty: it waits for a signal."""
    on_failure: str = ""
    """Where it is left to when an action has failed for good; empty: the instance fails."""
    guard: Guard | None = None
    timeout: Timeout | None = None
    terminal: Terminal | None = None
    """None unless it is terminal; SUCCESS unless the definition says otherwise."""
    compensable: bool = False
    """That each of its actions has a compensation is checked."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where events of a definition's instances are published."""

    alias: str
    """What settings resolve to brokers."""
    topic: str

    def __str__(self) -> str:
        return f"kafka://{self.alias}/{self.topic}"


@dataclass(frozen=True, slots=True)
class Definition:
    """One version of a definition. It never changes."""

    name: str
    states: Mapping[str, State]
    """All of them, those that only transitions name included; in the definition's order."""
    initial: str
    version: int = 0
    """Counts the versions of a name from 1; 0 for one that is not stored."""
    source: Source | None = None
    """`event_source`; None: nothing is published."""
    events: Mapping[str, str] = field(default_factory=dict)
    """The event type of entering a state, where it is not `{name}_{state}`."""
    schema: Schema | None = None
    """Of an instance's data."""
    description: str = ""
    document: Mapping[str, object] = field(default_factory=dict)
    """What it was made of, as JSON."""

    def event_type(self, state: str) -> str:
        """The type of the event that an instance has entered a state."""
        return self.events.get(state, f"{self.name}_{state}")

    def target(self, state: str, event: str) -> str | None:
        """Where an event leads from a state: by `on`, else the transition whose event type or
        whose name it is; None: nowhere."""
        here = self.states[state]
        if event in here.on:
            return here.on[event]
        named = (to for to in here.transitions if event in {self.event_type(to), to})
        return next(named, None)
