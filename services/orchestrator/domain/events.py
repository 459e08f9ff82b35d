"""What can happen in a task. Names are past participles; each is one event of the task's log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.orchestrator.domain.large import Large, LargeTexts
from services.orchestrator.domain.place import FIRST, Place, Window
from services.orchestrator.domain.routed import Routed


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task, a step or a tool call failed."""

    code: str
    """The canonical gRPC name, such as `INVALID_ARGUMENT`."""
    reason: str
    message: str
    suggested_fix: str = ""
    retry_after_ms: float | None = None
    domain: str = ""
    """The service that said so; empty for the orchestrator itself."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn of a model took."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    duration_ms: float = 0.0
    time_to_first_token_ms: float | None = None
    """From the task's acceptance; on its first turn only."""
    cost_usd: float = 0.0
    is_cached: bool = False
    """Whether it came from the response cache: then its tokens are those that were saved."""

    @property
    def tokens(self) -> int:
        """That were used, of prompt and output together."""
        return 0 if self.is_cached else self.prompt_tokens + self.completion_tokens

    @property
    def saved_tokens(self) -> int:
        """That would have been used without the cache."""
        return self.prompt_tokens + self.completion_tokens if self.is_cached else 0


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `role` is `system`, `user`, `assistant` or `tool`."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the model chooses tokens; None means the model's default."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: Sequence[str] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class ClientTool:
    """A tool that the task's client runs."""

    name: str
    description: str
    input_schema: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Pinned:
    """The tools that a task got when it was accepted."""

    versions: tuple[tuple[str, str], ...] = ()
    """The name of each, and its version."""
    left_out: int = 0
    """How many there were beside them that it did not get."""


@dataclass(frozen=True, slots=True)
class CallSpec:
    """A call of a tool that is a task of its own."""

    tool: str
    version: str
    """Or a range of versions; empty for the newest."""
    input: Mapping[str, object]
    capabilities: Mapping[str, object] | None = None
    """What the tool may ask for; None for what any task can be asked."""
    requests: Mapping[str, object] | None = None
    """What the tool asked for before there was a task; None where it was not called yet."""
    state: str = ""
    """What it is to be given back with the answers."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a task may use; None means no limit of its own."""

    steps: int
    tokens: int | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Spec:
    """What a task is to do, for whom, until when. It never changes."""

    task_id: str
    tenant: str
    owner: str
    session_id: str
    trace_id: str
    query: str
    history: Sequence[Message]
    model: str
    model_version: str
    tools: Sequence[str]
    """Names of the tools it may call; empty means all."""
    has_tools: bool
    """Whether it may call tools at all."""
    response_schema: Mapping[str, object] | None
    sampling: Sampling
    limits: Limits
    survives_disconnect: bool
    pauses_at_deadline: bool
    """Whether it waits rather than goes on once its caller has got a partial answer."""
    client_tools: Sequence[ClientTool]
    approval_tools: Sequence[str]
    """Names of tools whose calls need an approval; `*` for all."""
    labels: Mapping[str, str]
    deadline: datetime
    request: bytes
    """The request as it came, for the log; of large texts only their beginnings."""
    agent_id: str = ""
    """Who it runs as; empty for the default agent."""
    agent_version: int = 0
    parent_task_id: str = ""
    """The task that called its agent; empty where a caller did."""
    depth: int = 0
    """How many tasks stand above it."""
    large: LargeTexts = ()
    """Where the whole of those texts is; each under its name, `query` or `messages[N]`."""
    place: Place = FIRST
    on_busy: str = ""
    """What a session that begins with this task does with requests while a task goes on."""
    pinned: Pinned | None = None
    """Its tools; None where it has none, and in logs that do not say."""
    call: CallSpec | None = None
    """The one call that it is; None where it asks a model."""
    routed: Routed | None = None
    """How `model` was chosen; None where the request named it."""
    cache: str = ""
    """What its caller says of cached answers, as `caching` reads it."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, and when it was recorded."""

    time: datetime


@dataclass(frozen=True, slots=True)
class Queued(Event):
    """Accepted; waits for a worker."""

    spec: Spec


@dataclass(frozen=True, slots=True)
class Started(Event):
    """Accepted, and taken up at once."""

    spec: Spec
    window: Window | None = None
    """What it is shown of its session; None for nothing."""


@dataclass(frozen=True, slots=True)
class Claimed(Event):
    """Taken up by a worker after it was queued."""

    window: Window | None = None
    """What it is shown of its session; None for nothing."""


@dataclass(frozen=True, slots=True)
class StepEvent(Event):
    """Something that happened in an attempt at a step; both count from 1."""

    step: int
    attempt: int


@dataclass(frozen=True, slots=True)
class ThoughtAdded(StepEvent):
    """The model said why it does what it does next."""

    reasoning: str


@dataclass(frozen=True, slots=True)
class TextAdded(StepEvent):
    """More of the answer was produced."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCalled(StepEvent):
    """The model asked for a tool."""

    call_id: str
    tool: str
    tool_version: str
    input: Mapping[str, object]
    turn: Turn | None = None
    """On the last call of a step."""


@dataclass(frozen=True, slots=True)
class ChildStarted(StepEvent):
    """A call of an agent became a task of its own."""

    call_id: str
    child_task_id: str


@dataclass(frozen=True, slots=True)
class ChildChanged(StepEvent):
    """The task of an agent's call waits for somebody, or goes on after that."""

    call_id: str
    tool: str
    child_task_id: str
    wants: str
    """What it waits for; empty when it goes on."""


@dataclass(frozen=True, slots=True)
class ToolReturned(StepEvent):
    """A tool answered, or failed when there is a `failure`."""

    call_id: str
    tool: str
    tool_version: str
    output: object
    failure: Failure | None
    latency_ms: float
    tokens: int = 0
    """What the task of an agent that was called used."""
    cost_usd: float = 0.0
    """What it cost."""
    content: Sequence[Mapping[str, object]] | Large = ()
    """The result as MCP content blocks, where the output does not say it all; or where they are."""


@dataclass(frozen=True, slots=True)
class ToolProgressed(StepEvent):
    """A tool that runs said how far it is."""

    call_id: str
    tool: str
    progress: float
    total: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class ToolLogged(StepEvent):
    """A tool that runs said something."""

    call_id: str
    tool: str
    level: str
    """As RFC 5424 has them, such as `info`."""
    message: str


@dataclass(frozen=True, slots=True)
class ApprovalAsked(StepEvent):
    """A call waits for somebody to allow it."""

    call_id: str
    tool: str


@dataclass(frozen=True, slots=True)
class ApprovalDecided(StepEvent):
    """Somebody allowed a call, or forbade it."""

    call_id: str
    tool: str
    is_approved: bool
    comment: str
    author: str


@dataclass(frozen=True, slots=True)
class InputAsked(StepEvent):
    """A call waits for the task's client to run it; or for what its tool asks for."""

    call_id: str
    tool: str
    requests: Mapping[str, object] | None = None
    """What the tool asks for, by name, as MCP input requests."""
    state: str = ""
    """What it is to be given back."""


@dataclass(frozen=True, slots=True)
class InputReceived(StepEvent):
    """Somebody answered a part of what a tool asked for; the call waits for the rest."""

    call_id: str
    tool: str
    responses: Mapping[str, object]
    """What was not answered before, by the names of the requests."""
    author: str


@dataclass(frozen=True, slots=True)
class InputGiven(StepEvent):
    """Somebody answered what a tool asked for, or the last of it; the call is made again with all
    answers."""

    call_id: str
    tool: str
    responses: Mapping[str, object]
    """By the names of the requests."""
    author: str


@dataclass(frozen=True, slots=True)
class Answered(StepEvent):
    """The model gave its answer; `output` is the answer as JSON when a schema asks for it. Or the
    tool did, where that is the task."""

    answer: str
    output: object
    turn: Turn | None
    """None where it is a tool that answered."""


@dataclass(frozen=True, slots=True)
class StepAbandoned(StepEvent):
    """The attempt failed, and what it said does not count."""

    failure: Failure
    turn: Turn


@dataclass(frozen=True, slots=True)
class Steered(Event):
    """Somebody said something more, between two attempts at a step, or two steps."""

    text: str
    author: str
    key: str = ""
    """The author's own, by which it is known when it is said again; empty for none."""


@dataclass(frozen=True, slots=True)
class Waited(Event):
    """It goes on only when it is told something."""

    wants: str
    """`approval`, `input`, `continue`, or `child`: what the task of an agent's call waits for."""
    until: datetime
    """When it has waited too long."""
    turn: Turn | None = None
    """What the model's turn took that it is in the middle of."""


@dataclass(frozen=True, slots=True)
class Resumed(Event):
    """It was told, and goes on."""


@dataclass(frozen=True, slots=True)
class Warned(Event):
    """Something was degraded, defaulted or cut."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ModelChanged(Event):
    """Another model of the task's route goes on."""

    before: str
    model: str
    version: str
    failure: Failure | None
    """Why the one before does not; None where it was only slower."""


@dataclass(frozen=True, slots=True)
class Completed(Event):
    """The task ended with its answer."""


@dataclass(frozen=True, slots=True)
class Failed(Event):
    """The task ended with an error."""

    failure: Failure
    turn: Turn | None = None
    """What the model's turn took that ended with it."""


@dataclass(frozen=True, slots=True)
class Canceled(Event):
    """Someone cancelled the task."""

    reason: str
    turn: Turn | None = None
    """As of `Failed`."""
