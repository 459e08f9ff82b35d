"""A model as callers see it."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Capability(StrEnum):
    """What a model can be asked for."""

    GENERATE = "generate"
    """A turn of a conversation."""
    CONTINUE = "continue"
    """The rest of a turn, from its start."""
    SCHEMA = "schema"
    """A turn that is bound by a JSON Schema."""
    CONSTRAINT = "constraint"
    """A turn that is one of some texts, or that a regular expression or a grammar binds."""
    CLASSIFY = "classify"
    """How likely each of some labels is as its answer."""
    EMBED = "embed"
    """Texts as vectors."""
    TOOLS = "tools"
    """A turn that calls tools the request offers, in the way its authors taught it."""


GENERATING: Final = frozenset(
    {Capability.GENERATE, Capability.CONTINUE, Capability.SCHEMA, Capability.CLASSIFY}
)


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
    capabilities: Collection[Capability] = frozenset({Capability.GENERATE})

    @property
    def can_continue(self) -> bool:
        """Whether it goes on from the start of a turn."""
        return Capability.CONTINUE in self.capabilities
