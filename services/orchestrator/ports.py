"""What the use cases and the worker need of the world."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.chassis.errors import Violation
from services.orchestrator.domain.events import Event, Failure, Message, Sampling, Turn
from services.orchestrator.domain.task import Task
from services.orchestrator.domain.tool import Tool


@dataclass(frozen=True, slots=True)
class Model:
    """A model as the catalogue has it."""

    name: str
    version: str
    context_tokens: int
    default_max_tokens: int


@dataclass(frozen=True, slots=True)
class Generation:
    """One turn to generate."""

    model: str
    messages: Sequence[Message]
    sampling: Sampling
    max_tokens: int
    schema: Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of a turn; on the last piece also why it ended and what it took."""

    text: str
    finish_reason: str = ""
    turn: Turn | None = None


class Models(Protocol):
    """The models that can be asked."""

    async def resolve(self, name: str) -> Model:
        """The model of this name; empty means the default.

        Raises:
            NotFound: `MODEL_NOT_FOUND`.
        """

    async def count_tokens(self, model: str, messages: Sequence[Message]) -> int:
        """How long a prompt is."""

    def generate(self, generation: Generation, *, timeout: float) -> AsyncGenerator[Piece, None]:
        """One turn, `timeout` in seconds. Closing the generator must stop the model.

        Raises:
            ServiceError: what the inference service says.
        """


@dataclass(frozen=True, slots=True)
class Returned:
    """What came of a tool call; `failure` when the tool could not do it."""

    output: object
    failure: Failure | None
    latency_ms: float


class Tools(Protocol):
    """The tools that can be called."""

    async def catalogue(self) -> Mapping[str, Tool]:
        """Every tool, by name."""

    async def call(
        self, tool: str, given: Mapping[str, object], *, call_id: str, timeout: float
    ) -> Returned:
        """Call a tool, `timeout` in seconds.

        Raises:
            ServiceError: the call was refused, or not taken.
        """


class Schemas(Protocol):
    """JSON Schemas that callers bring."""

    def check(self, schema: Mapping[str, object], *, field: str) -> None:
        """Raises `InvalidArgument` (`SCHEMA_INVALID`) when it is none."""

    def violations(self, schema: Mapping[str, object], value: object) -> Sequence[Violation]:
        """What is wrong with a value."""


class TaskLog(Protocol):
    """The logs of tasks. What `append` has returned for is durable, and then visible."""

    async def append(self, task: Task | None, events: Sequence[Event]) -> Task:
        """Add events to a task's log; the task as it stands then. None starts a log.

        Raises:
            Aborted: `SEQUENCE_CONFLICT`; somebody else wrote to it.
        """

    async def load(self, tenant: str, task_id: str) -> Task:
        """A task as its log says.

        Raises:
            NotFound: `TASK_NOT_FOUND`.
        """

    def watch(self, tenant: str, task_id: str, *, after: int) -> AsyncGenerator[bytes, None]:
        """Events after a sequence as they go over the wire, until the one that closes the task.

        Raises:
            NotFound: `TASK_NOT_FOUND`.
        """
