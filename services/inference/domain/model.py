"""A model as callers see it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Model:
    """A model that an engine serves."""

    name: str
    version: str
    """Changes whenever the same request may get another answer."""
    engine: str
    context_tokens: int
    default_max_tokens: int
    slots: int
    """Generations that run at the same time."""
    can_continue: bool = False
    """Whether it goes on from the start of a turn."""
