"""Texts as vectors."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from services.inference.domain.request import Priority

Vector: TypeAlias = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Embedding:
    """Texts that are to become vectors."""

    model: str
    inputs: tuple[str, ...]
    """At least one."""
    priority: Priority = Priority.INTERACTIVE


@dataclass(frozen=True, slots=True)
class Embedded:
    """What came of it."""

    vectors: tuple[Vector, ...]
    """Of each text, in their order; each of length 1."""
    prompt_tokens: int
    queue_ms: float = 0.0
    """Time spent waiting for a slot."""


def unit(vector: Sequence[float]) -> Vector:
    """The vector of length 1 in the same direction; of one without a direction, itself."""
    length = math.hypot(*vector)
    return tuple(each / length for each in vector) if length else tuple(vector)
