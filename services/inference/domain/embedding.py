"""Texts as vectors."""

from dataclasses import dataclass

from services.inference.domain.request import Priority


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

    vectors: tuple[tuple[float, ...], ...]
    """Of each text, in their order; each of length 1."""
    prompt_tokens: int
    queue_ms: float = 0.0
    """Time spent waiting for a slot."""
