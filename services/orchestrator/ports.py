"""What the use cases and the worker need of the world."""

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Protocol

from services.chassis.errors import Violation
from services.chassis.eventlog.port import Claim, Condition, Kept, Key, Letter
from services.orchestrator.domain.agent import Agent
from services.orchestrator.domain.caching import CacheControl
from services.orchestrator.domain.events import (
    Event,
    Message,
    Queued,
    Sampling,
    Spec,
    Started,
    Turn,
)
from services.orchestrator.domain.large import Large, LargeTexts
from services.orchestrator.domain.quota import Bound, Quota, Scope, Usage
from services.orchestrator.domain.request import Request
from services.orchestrator.domain.session import Event as SessionEvent
from services.orchestrator.domain.session import Session, Transcript
from services.orchestrator.domain.task import Task


@dataclass(frozen=True, slots=True)
class Model:
    """A model as the catalogue has it."""

    name: str
    version: str
    context_tokens: int
    default_max_tokens: int
    can_continue: bool = False
    """Whether it goes on from the start of a turn."""
    input_usd: float = 0.0
    """What a million tokens of prompt cost."""
    output_usd: float = 0.0
    capabilities: frozenset[str] = frozenset({"generate", "schema"})
    size_class: str = ""

    def cost_usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What so many tokens cost."""
        return (prompt_tokens * self.input_usd + completion_tokens * self.output_usd) / 1e6


@dataclass(frozen=True, slots=True)
class Generation:
    """One turn to generate."""

    model: str
    messages: Sequence[Message]
    sampling: Sampling
    max_tokens: int
    schema: Mapping[str, object] | None
    prefix: str = ""
    """The start of the turn, to go on from; not together with a schema."""
    tenant: str = ""
    """Whose it is."""
    cache: CacheControl | None = None
    """What its caller says of cached answers; None to have nothing to do with them."""
    affinity: str = ""
    """What calls have in common whose prompts begin alike: their session."""
    priority: str = ""
    """Who goes first, as the inference service names it; empty for the usual one."""
    apart_from: "Generation | None" = None
    """A call that goes on, and that this one is not to share a replica with."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of a turn; on the last piece also why it ended and what it took."""

    text: str
    finish_reason: str = ""
    turn: Turn | None = None
    model_version: str = ""
    """On the last piece, if it is known: what said it."""
    is_cached: bool = False
    """Whether somebody else paid for it: it is from the cache, or from a turn that two share."""
    keep: Callable[[], None] | None = None
    """On the last piece of a turn that may be cached: call it once the turn is known to be good."""


class Speakers(Protocol):
    """Models as far as one turn needs them."""

    def generate(self, generation: Generation, *, timeout: float) -> AsyncGenerator[Piece, None]:
        """One turn, `timeout` in seconds. Closing the generator must stop the model.

        Raises:
            ServiceError: what the inference service says.
            Unavailable: `NO_OTHER_REPLICA`; there is none apart from the call that is named.
        """


class KnownModels(Protocol):
    """Models as far as a choice among them needs them."""

    async def known(self) -> Mapping[str, Model]:
        """All of them, by each of their names; the default one also by none."""

    async def resolve(self, name: str) -> Model:
        """The model of this name; empty means the default.

        Raises:
            NotFound: `MODEL_NOT_FOUND`.
        """


class Models(KnownModels, Speakers, Protocol):
    """The models that can be asked."""

    async def count_tokens(self, model: str, messages: Sequence[Message], prefix: str = "") -> int:
        """How long a prompt is, the start of the turn included."""


class Schemas(Protocol):
    """JSON Schemas that callers bring."""

    def check(self, schema: Mapping[str, object], *, field: str) -> None:
        """Raises `InvalidArgument` (`SCHEMA_INVALID`) when it is none."""

    def violations(
        self, schema: Mapping[str, object], value: object, *, field: str = ""
    ) -> Sequence[Violation]:
        """What is wrong with a value, which stands in this field of a request. Without one, the
        schema has been checked."""

    def fits(self, schema: Mapping[str, object]) -> bool:
        """Whether inference takes it, to bind what a model says."""


class LogLost(Exception):
    """A task's log cannot be written by this worker: another one will go on with it."""


class TaskLog(Protocol):
    """The logs of tasks. What is written is durable, and then visible."""

    async def begin(self, event: Queued | Started, key: Key | None) -> tuple[Task, Claim]:
        """Start a task's log, and the claim under which this process goes on with it.

        Raises:
            AlreadyExists: `IDEMPOTENCY_KEY_TAKEN`.
        """

    def shortened(self, request: Request) -> tuple[Request, LargeTexts]:
        """A request as a log can have it, and what stands for its large texts once `keep` has put
        them where the log can refer to them."""

    async def keep(self, tenant: str, request: Request, large: LargeTexts) -> None:
        """Keep the whole of these texts of a request. Nothing deletes them: a task is to begin.

        Raises:
            Unavailable: `OBJECT_STORE_UNAVAILABLE`.
        """

    async def kept(self, tenant: str, key: Key) -> Kept | None:
        """The task that an idempotency key stands for already."""

    async def page(
        self, tenant: str, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """Tasks, the newest first: the id of each, and the resource as it goes over the wire."""

    async def append(
        self,
        task: Task,
        events: Sequence[Event],
        claim: Claim,
        *,
        answered: Sequence[int] = (),
        stored: Callable[[Task], None] | None = None,
    ) -> Task:
        """Add events to a task's log, with what stands for values too large for it, dealing with
        these letters; the task as it stands then. `stored` is told of it before any watcher is.

        Raises:
            Aborted: `CLAIM_LOST`; somebody else has it now.
            Unavailable: `EVENT_STORE_UNAVAILABLE`.
        """

    async def park(self, task: Task, claim: Claim, *, delay: timedelta) -> None:
        """Give a task back, for anybody to take up after a while, or when there is a letter.

        Raises:
            Aborted, Unavailable: as `append`.
        """

    async def load(self, tenant: str, task_id: str) -> Task:
        """A task as its log says.

        Raises:
            NotFound: `TASK_NOT_FOUND`.
        """

    async def value(self, tenant: str, large: Large, *, offset: int, length: int) -> bytes:
        """A part of a value that a log refers to, as far as there is so much of it.

        Raises:
            NotFound: `OBJECT_NOT_FOUND`.
            FailedPrecondition: `OBJECT_STORE_MISSING`.
            Unavailable: `OBJECT_STORE_UNAVAILABLE`.
        """

    async def until_end(self, tenant: str, task_id: str) -> None:
        """Wait until a task has ended; one that is not there has."""

    async def until_still(self, tenant: str, task_id: str) -> None:
        """Wait until a task has ended, or waits for somebody; one that is not there has ended."""

    async def advance(self, task: Task) -> Task:
        """A task that was loaded before, with what has happened since."""

    def watch(self, tenant: str, task_id: str, *, after: int) -> AsyncGenerator[bytes, None]:
        """Events after a sequence as they go over the wire, until the one that closes the task.

        Raises:
            NotFound: `TASK_NOT_FOUND`.
        """


class AgentStore(Protocol):
    """The agents of all tenants, in all their versions."""

    async def newest(self, tenant: str, agent_id: str) -> Agent:
        """An agent as it is now.

        Raises:
            NotFound: `AGENT_NOT_FOUND`; there is none, or none any more.
        """

    async def version(self, tenant: str, agent_id: str, version: int) -> Agent:
        """An agent as it is or was.

        Raises:
            NotFound: `AGENT_VERSION_NOT_FOUND`.
        """

    async def page(
        self, tenant: str, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """Agents by id: the id of each, and what lists show of it as it goes over the wire."""

    async def kept(self, tenant: str, key: Key) -> Kept | None:
        """The agent that an idempotency key stands for already, by its id."""

    async def create(self, tenant: str, agent: Agent, key: Key | None) -> Agent:
        """Keep a new agent; its version counts on from one that was deleted.

        Raises:
            AlreadyExists: `AGENT_ALREADY_EXISTS` or `IDEMPOTENCY_KEY_TAKEN`.
        """

    async def update(self, tenant: str, agent: Agent) -> None:
        """Keep the next version of an agent.

        Raises:
            Aborted: `AGENT_VERSION_CONFLICT`.
        """

    async def delete(self, tenant: str, agent: Agent) -> None:
        """Let there be no such agent any more; `agent` is its newest version.

        Raises:
            Aborted: `AGENT_VERSION_CONFLICT`.
        """


@dataclass(frozen=True, slots=True)
class Errand:
    """A task's call of an agent."""

    parent: Spec
    call_id: str
    agent_id: str
    query: str
    tokens: int | None
    """How many it may use; None for as many as the agent may."""
    cost_usd: float | None
    """What it may cost; None for what the agent's may."""
    until: datetime
    """When the parent ends at the latest: what it has waited does not count."""


class Children(Protocol):
    """Tasks that other tasks begin: the calls of agents."""

    async def begin(self, errand: Errand) -> str:
        """The id of the task that does it: a new one, or the one that was begun for this call. A
        cancel of this waits until it is known.

        Raises:
            ServiceError: as for any task that is refused.
        """

    async def still(self, tenant: str, task_id: str) -> Task:
        """The task once it has ended or waits for somebody, here or elsewhere."""

    async def look(self, tenant: str, task_id: str) -> Task:
        """The task as it stands.

        Raises:
            NotFound: `TASK_NOT_FOUND`.
        """

    async def tell_parent(self, child: Spec) -> None:
        """Have whoever works on the task that called this one look at it. It may fail unseen."""

    async def cancel(self, parent: Spec, call_ids: Sequence[str], reason: str) -> None:
        """End the tasks of these calls that run, here or elsewhere. Those that cannot be reached
        have their own deadline."""


class Statuses(Protocol):
    """Tasks that have ended, as they go over the wire. It may forget any of them."""

    async def find(self, tenant: str, task_id: str) -> bytes | None:
        """What was kept of a task."""

    async def keep(self, tenant: str, task_id: str, body: bytes) -> None:
        """Keep a task for a while, unless it is too long."""


class SessionStore(Protocol):
    """Sessions. They refer to tasks, and have no text of their own but summaries."""

    async def find(self, tenant: str, session_id: str) -> Session | None:
        """A session as it stands, also one that was deleted; None if there never was one."""

    async def append(
        self, session: Session | None, events: Sequence[SessionEvent], key: Key | None = None
    ) -> Session:
        """Add events to a session, or begin one; the session as it stands then.

        Raises:
            Aborted: `SEQUENCE_CONFLICT`; somebody else added something first.
            AlreadyExists: `IDEMPOTENCY_KEY_TAKEN`.
        """

    async def kept(self, tenant: str, key: Key) -> Kept | None:
        """The session that an idempotency key stands for already."""

    async def page(
        self, tenant: str, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """Sessions that are not deleted, the newest first: the id of each, and the resource as it
        goes over the wire."""

    async def events(
        self, session: Session, *, after: int, limit: int
    ) -> Sequence[tuple[int, SessionEvent]]:
        """A session's events with a sequence above `after`, in order, with their sequences."""

    async def said(self, tenant: str, task_id: str) -> Transcript | None:
        """What was said in a task; None if there is no such task."""


class QuotaStore(Protocol):
    """The quotas of all tenants, those of the settings among them."""

    async def of(self, tenant: str) -> Sequence[Quota]:
        """All that hold for a tenant, by id; they may be a few seconds old."""

    async def get(self, tenant: str, quota_id: str) -> Quota:
        """A quota as it is now.

        Raises:
            NotFound: `QUOTA_NOT_FOUND`.
        """

    async def create(self, tenant: str, quota: Quota) -> Quota:
        """Keep a new quota.

        Raises:
            AlreadyExists: `QUOTA_ALREADY_EXISTS`.
            ResourceExhausted: `TOO_MANY_QUOTAS`.
        """

    async def update(self, tenant: str, quota: Quota) -> None:
        """Keep the next version of a quota.

        Raises:
            Aborted: `QUOTA_VERSION_CONFLICT`.
        """

    async def delete(self, tenant: str, quota: Quota) -> None:
        """Let there be no such quota any more; `quota` is its newest. Raises as `update`."""


class Ledger(Protocol):
    """What models took, by day, for tenants, agents and sessions. Task logs count into it."""

    async def hold(
        self, spec: Spec, bounds: Sequence[Bound], takes: Usage, *, lasts: timedelta, today: date
    ) -> Sequence[Usage] | None:
        """Hold this for a task's next call, in place of what was held for the one before, until its
        log says what that took; None if it is held. If it does not fit everywhere, beside what
        others hold: what was used already, of each."""

    async def days(
        self, tenant: str, scope: Scope, subject: str, first: date, last: date
    ) -> Sequence[tuple[date, Usage]]:
        """What was used in each of these days that something was used in, in order."""

    async def page(
        self, tenant: str, scope: Scope, *, after: str, limit: int
    ) -> Sequence[tuple[str, date, Usage]]:
        """What each agent or session used, by day, in the order of both; `after` is the last of the
        page before, as `SUBJECT/DAY`."""


class Desk(Protocol):
    """Which tasks this process works on, and what others want of it."""

    async def find(self, limit: int) -> Sequence[Claim]:
        """Take up at most so many tasks that nobody works on."""

    async def take(self, tenant: str, task_id: str) -> Claim | None:
        """Take up this task; None if somebody works on it, or it has ended."""

    async def renew(self) -> Sequence[Claim]:
        """Keep what this process has; what it has now."""

    async def release(self, claims: Sequence[Claim]) -> None:
        """Give tasks back for anybody to take up."""

    async def send(
        self, tenant: str, task_id: str, kind: str, body: str, *, is_last: bool = False
    ) -> bool:
        """Tell whoever works on a task something; False if it has ended. There is always room for
        the last thing to be said.

        Raises:
            ResourceExhausted: `INBOX_FULL`; of letters so long as this one, too many lie there.
        """

    async def letters(self, *, task_id: str = "", known: Collection[int] = ()) -> Sequence[Letter]:
        """What others told this process, or one of its tasks, but for what it knows already."""

    async def woken(self) -> None:
        """Wait until there may be letters. It may miss some: look now and then all the same."""
