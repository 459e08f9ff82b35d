"""How likely each of some labels is as a model's answer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from services.inference.domain.generation import Usage
from services.inference.domain.request import Message, Priority


@dataclass(frozen=True, slots=True)
class Scoring:
    """Labels to choose from, as the whole of an assistant's turn behind these messages."""

    model: str
    messages: tuple[Message, ...]
    labels: tuple[str, ...]
    """Different ones, at least two."""
    priority: Priority = Priority.INTERACTIVE


@dataclass(frozen=True, slots=True)
class Scored:
    """What came of it."""

    log_probabilities: tuple[float, ...]
    """Of each label, in their order; up to a constant that is the same for all."""
    usage: Usage
    queue_ms: float = 0.0
    """Time spent waiting for a slot."""


def shares(log_probabilities: Sequence[float]) -> tuple[float, ...]:
    """The same as probabilities that sum to 1 (softmax)."""
    most = max(log_probabilities)
    weights = [math.exp(each - most) for each in log_probabilities]
    whole = math.fsum(weights)
    return tuple(weight / whole for weight in weights)
