"""What comes back from a generation, and the figures about it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from services.inference.domain.model import Model
from services.inference.domain.tools import ToolCall

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one generation. The cached ones are part of the prompt's."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """The last piece of a generation."""

    reason: FinishReason
    usage: Usage
    queue_ms: float = 0.0
    """Time spent waiting for a slot."""
    text: str = ""
    """The last text, when it came together with the end."""
    tool_calls: tuple[ToolCall, ...] = ()
    """What the model wants called; the reason is `tool_calls` then."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """How fast a generation was, from the request on."""

    latency_ms: float
    time_to_first_token_ms: float
    queue_ms: float
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class Delta:
    """Text produced since the one before."""

    text: str


@dataclass(frozen=True, slots=True)
class Complete:
    """The end of a generation."""

    finished: Finished
    metrics: Metrics
    model: Model
    time: datetime


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """When a generation began, spoke first and ended, in seconds of one monotonic clock."""

    start: float
    first: float
    end: float

    def metrics(self, finished: Finished) -> Metrics:
        """The figures callers see. A rate needs two tokens: with fewer it is 0."""
        seconds = self.end - self.first
        tokens = finished.usage.completion_tokens
        return Metrics(
            latency_ms=1e3 * (self.end - self.start),
            time_to_first_token_ms=1e3 * (self.first - self.start),
            queue_ms=finished.queue_ms,
            tokens_per_second=tokens / seconds if tokens > 1 and seconds > 0 else 0.0,
        )
