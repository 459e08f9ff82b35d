"""What the use cases and the worker need of tools."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from services.chassis.telling import Report, unheard
from services.orchestrator.domain.catalogue import Catalogue
from services.orchestrator.domain.events import Failure
from services.orchestrator.domain.tool import Tool


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of a tool, as the registry is asked for it."""

    tool: Tool
    """In this very version."""
    call_id: str
    input: Mapping[str, object]
    timeout: float
    """In seconds."""
    idempotency_key: str = ""
    """The same each time that this call is made, whoever makes it."""
    capabilities: Mapping[str, object] = field(default_factory=dict)
    """What the tool may ask for, as MCP client capabilities."""
    responses: Mapping[str, object] | None = None
    """Answers to what it asked for."""
    request_state: str = ""
    """What it gave to be given back with them."""
    report: Report = unheard


@dataclass(frozen=True, slots=True)
class Requests:
    """What a tool asks for before it can go on."""

    inputs: Mapping[str, object]
    """MCP input requests, by name."""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Returned:
    """What came of a tool call; `failure` when the tool could not do it."""

    output: object
    failure: Failure | None
    latency_ms: float
    tokens: int = 0
    cost_usd: float = 0.0
    """What models used for it, where it was an agent's."""
    content: Sequence[Mapping[str, object]] = ()
    """The output as MCP content blocks, where it does not say it all."""
    warnings: Sequence[tuple[str, str]] = ()
    """Codes, and what there is to say."""
    requests: Requests | None = None
    """Set instead of all that, when the tool asks for something first."""
    child_wants: str = ""
    """Set instead of all that: what the task of an agent waits for."""


class Calling(Protocol):
    """What calls of tools go to."""

    async def call(self, invocation: Invocation) -> Returned:
        """Call a tool. A cancel of this cancels the tool.

        Raises:
            ServiceError: the call was refused, or not taken.
        """


class Tools(Calling, Protocol):
    """The tools that can be called, which are a tenant's own. What is done is done for who asks."""

    async def catalogue(self, tenant: str) -> Catalogue:
        """What is offered to a task of a tenant that names no tools. It may be some seconds old."""

    async def find(self, tenant: str, name: str, version: str = "") -> Tool:
        """A tool in this version, or the newest that a range allows; empty for the newest.

        Raises:
            NotFound: `TOOL_NOT_FOUND` or `TOOL_VERSION_NOT_FOUND`.
            InvalidArgument: `INVALID_REQUEST`; that is no version.
        """
