"""What can happen in a workflow. Names are past participles; each is one event of its log."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

Object = Mapping[str, object]
"""A JSON object."""

WORKFLOW: Final = "workflow"
"""Who does what follows from the definition."""
TIMER: Final = "timer"
"""Who does what follows from the time."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an action or a workflow failed, or why something was refused."""

    code: str
    """The canonical gRPC name, such as `UNAVAILABLE`."""
    reason: str
    message: str
    suggested_fix: str = ""


@dataclass(frozen=True, slots=True)
class Spec:
    """What was started, for whom. It never changes."""

    workflow_id: str
    tenant: str
    owner: str
    definition: str
    version: int
    correlation_id: str
    trace_id: str
    parent_workflow_id: str = ""
    depth: int = 0
    """How many workflows stand above it."""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Signal:
    """What somebody tells a workflow: to go to `target`, or that `event` happened."""

    target: str = ""
    event: str = ""
    payload: Object = field(default_factory=dict)
    by: str = ""
    comment: str = ""

    @property
    def name(self) -> str:
        """The event, or the target where there is none."""
        return self.event or self.target


@dataclass(frozen=True, slots=True)
class Started:
    """A workflow began, in its initial state."""

    time: datetime
    spec: Spec
    state: str
    data: Object
    transition_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Moved:
    """It left a state and entered another, which may be the same."""

    time: datetime
    previous: str
    state: str
    cause: str
    """`signal`, `approval`, `rejection`, `success`, `failure`, `timeout` or `validation`."""
    by: str
    signal: str = ""
    payload: Object = field(default_factory=dict)
    comment: str = ""
    transition_ms: float = 0.0
    validation_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class ValidationRequested:
    """The state's tool or agent is asked whether it may be left. What is asked for is in `signal`,
    whose target is a state's name."""

    time: datetime
    signal: Signal
    cause: str
    """As in `Moved`."""


@dataclass(frozen=True, slots=True)
class ValidationRejected:
    """The validator said no, or could not be asked; it stays where it is."""

    time: datetime
    target: str
    cause: str
    """Of what was asked for, as in `Moved`."""
    failure: Failure
    validation_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class SignalDeferred:
    """A signal came while actions ran; it is kept until they are done."""

    time: datetime
    signal: Signal


@dataclass(frozen=True, slots=True)
class SignalDropped:
    """A signal that was kept leads nowhere any more, or was refused."""

    time: datetime
    signal: Signal
    failure: Failure


@dataclass(frozen=True, slots=True)
class ActionEvent:
    """Of an action of the state that the workflow is in."""

    time: datetime
    index: int
    """Which of the state's actions, from 0."""
    attempt: int
    """Which attempt, from 1."""


@dataclass(frozen=True, slots=True)
class ChildStarted(ActionEvent):
    """The action is a workflow, and it was started."""

    workflow_id: str


@dataclass(frozen=True, slots=True)
class ActionCompleted(ActionEvent):
    """It is done."""

    output: object
    """JSON: see `Kind`."""
    duration_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class ActionAttemptFailed(ActionEvent):
    """It failed, and is tried again."""

    failure: Failure
    due: datetime
    is_uncertain: bool = False
    """Whether it may have been done although that is not known."""


@dataclass(frozen=True, slots=True)
class ActionFailed(ActionEvent):
    """It failed for good, or was stopped."""

    failure: Failure
    is_uncertain: bool = False
    """Whether it may have been done, in this attempt or in one before."""
    duration_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Somebody wants it to end."""

    time: datetime
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class CompensationStarted:
    """What was done is undone from now on, the latest first."""

    time: datetime
    cause: str
    """`failure`, `rejection`, `cancel` or `request`."""
    by: str
    failure: Failure | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class UndoEvent:
    """Of the compensation of one action: the latest that is not undone."""

    time: datetime
    attempt: int


@dataclass(frozen=True, slots=True)
class ActionCompensated(UndoEvent):
    """An action is undone."""

    output: object
    duration_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class CompensationAttemptFailed(UndoEvent):
    """A compensation failed, and is tried again."""

    failure: Failure
    due: datetime


@dataclass(frozen=True, slots=True)
class CompensationFailed(UndoEvent):
    """A compensation failed for good; the workflow waits for a person."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class CompensationResumed:
    """A person wants it to be tried again."""

    time: datetime
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ProjectionRepaired:
    """The verifier found what lists show to differ from the events, and wrote it anew."""

    time: datetime
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing goes on by itself any more."""

    time: datetime
    status: str
    """`completed`, `failed`, `canceled` or `compensated`."""
    failure: Failure | None = None


Event = (
    Started
    | Moved
    | ValidationRequested
    | ValidationRejected
    | SignalDeferred
    | SignalDropped
    | ChildStarted
    | ActionCompleted
    | ActionAttemptFailed
    | ActionFailed
    | CancelRequested
    | CompensationStarted
    | ActionCompensated
    | CompensationAttemptFailed
    | CompensationFailed
    | CompensationResumed
    | ProjectionRepaired
    | Ended
)
