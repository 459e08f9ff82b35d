"""The figures about texts that were read: for their labels, or for their vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from services.chassis.errors import ServiceError
from services.inference.domain.classification import Ranked
from services.inference.domain.generation import Usage
from services.inference.domain.model import Model


@dataclass(frozen=True, slots=True)
class Reading:
    """What it took, and what did it."""

    model: Model
    time: datetime
    usage: Usage
    latency_ms: float
    queue_ms: float
    """Time spent waiting for a slot; of several texts, that of the one that waited longest."""

    @property
    def tokens_per_second(self) -> float:
        """Tokens of prompts and labels by the seconds that nothing waited."""
        seconds = (self.latency_ms - self.queue_ms) / 1e3
        tokens = self.usage.prompt_tokens + self.usage.completion_tokens
        return tokens / seconds if seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Classified:
    """A text's labels, the likeliest first."""

    results: tuple[Ranked, ...]
    usage: Usage
    queue_ms: float


@dataclass(frozen=True, slots=True)
class Embeddings:
    """A vector of length 1 for each text."""

    vectors: Sequence[Sequence[float]]
    reading: Reading


Item: TypeAlias = Classified | ServiceError
"""What came of one of several texts."""


def together(items: Sequence[Item]) -> tuple[Usage, float]:
    """What all of them used, and the longest wait."""
    done = [each for each in items if isinstance(each, Classified)]
    usage = Usage(
        sum(each.usage.prompt_tokens for each in done),
        sum(each.usage.completion_tokens for each in done),
        sum(each.usage.cached_tokens for each in done),
    )
    return usage, max((each.queue_ms for each in done), default=0.0)
