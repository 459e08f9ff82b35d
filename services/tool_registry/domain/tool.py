"""What a tool is: its contract, and how it says that it could not do something."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from services.chassis.schema import Schema
from services.tool_registry.domain.targets import Builtin, Target

TIMEOUT: Final = timedelta(seconds=30)
"""How long a call may take where nobody says."""


@dataclass(frozen=True, slots=True)
class Example:
    """A call and its result."""

    query: str
    """What someone might ask."""
    input: Mapping[str, object]
    output: object


@dataclass(frozen=True, slots=True)
class Default:
    """What is answered when a call fails."""

    value: object


@dataclass(frozen=True, slots=True)
class Definition:
    """What callers may rely on."""

    name: str
    """Matches `names.NAME`, and not `names.RESERVED`."""
    version: str
    """SemVer."""
    description: str
    """What it does and when to use it, for a small model and for people."""
    input_schema: Schema
    output_schema: Schema
    examples: tuple[Example, ...]
    timeout: timedelta
    """How long one call may take."""
    is_idempotent: bool = True
    title: str = ""
    tags: tuple[str, ...] = ()
    requires_approval: bool = False
    is_long_running: bool = False
    reports_progress: bool = False
    max_concurrency: int = 0
    """0: what the service allows."""
    default: Default | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A version of a tool, as the registry keeps it."""

    definition: Definition
    target: Target = field(default_factory=Builtin)
    owner: str = ""
    create_time: datetime | None = None
    is_deprecated: bool = False
    deprecation: str = ""
    """Why, and what to use instead."""
    source: str = ""
    """What brought it, such as `mcp:weather`; empty for what was registered by itself."""


_DONE: Final = frozenset({"TOOL_OUTPUT_INVALID", "TOOL_RESULT_TOO_LARGE", "TOOL_FAILED"})
"""Reasons of failures of tools that ran to their end, or broke on their way."""


class ToolFailure(Exception):
    """The tool ran and could not do what was asked. Not a fault of the service."""

    def __init__(
        self, reason: str, message: str, suggested_fix: str = "", *, is_targets: bool = False
    ) -> None:
        super().__init__(message)
        self.reason = reason
        """UPPER_SNAKE_CASE and stable."""
        self.message = message
        self.suggested_fix = suggested_fix
        self.is_targets = is_targets
        """Whether its target is broken, whatever it is asked: no connection, 5xx, half answers."""

    @property
    def is_uncertain(self) -> bool:
        """Whether it may have done what was asked all the same."""
        return self.is_targets or self.reason in _DONE
