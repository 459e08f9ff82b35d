"""A tool as an agent sees it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

AGENT_PREFIX: Final = "agent__"
"""Begins the name of a tool that is an agent."""
READ_RESULT: Final = "read_result"
"""The tool that reads on in large values."""


@dataclass(frozen=True, slots=True)
class Example:
    """A call that shows how a tool is used."""

    query: str
    input: Mapping[str, object]
    output: object


@dataclass(frozen=True, eq=False)
class Tool:
    """What the model is told of a tool, and what the loop needs to call it.

    Compared by identity: what is derived from a tool is kept as long as its catalogue entry.
    """

    name: str
    version: str
    description: str
    input_schema: Mapping[str, object]
    examples: Sequence[Example]
    timeout_ms: float
    is_idempotent: bool
    requires_approval: bool = False
    is_client: bool = False
    """Whether the task's client runs it."""
    agent_id: str = ""
    """The agent that it is; empty for any other tool."""
    is_builtin: bool = False
    """Whether the registry has it itself."""
    is_deprecated: bool = False
    """Whether only who names it gets it."""
    deprecation: str = ""
    """Why, and what to use instead; may be empty."""
    reports_progress: bool = False
    """Whether it may say how far it is while it runs."""


def is_reserved(name: str) -> bool:
    """Whether the orchestrator has such tools itself, so that no other may be called so."""
    return name == READ_RESULT or name.startswith(AGENT_PREFIX)


def gone(name: str, version: str) -> Tool:
    """Stands for a version that is there no more: a call of it fails, and says so."""
    return Tool(name, version, "Is there no more.", {"type": "object"}, (), 30_000.0, False)


def of_client(name: str, description: str, input_schema: Mapping[str, object]) -> Tool:
    """A tool that the task's client runs; nobody here knows how long that takes."""
    return Tool(name, "", description, input_schema, (), 0.0, is_idempotent=False, is_client=True)
