"""An agent: who a task runs as. What of it is refused, and what becomes of an update. Pure."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from services.chassis.errors import Aborted, NotFound, Violation, invalid
from services.orchestrator.domain import request as rq
from services.orchestrator.domain.events import Sampling
from services.orchestrator.domain.named import NAME, named
from services.orchestrator.domain.tool import AGENT_PREFIX, Tool

MAX_DESCRIPTION: Final = 1024
MAX_INSTRUCTIONS_BYTES: Final = 16 * 1024
ERRAND: Final = {
    "type": "object",
    "properties": {"query": {"type": "string", "minLength": 1}},
    "required": ["query"],
    "additionalProperties": False,
}
"""What an agent that is called as a tool is given."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What tasks of an agent may use; None means what any task may."""

    steps: int | None = None
    tokens: int | None = None
    duration_ms: float | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Agent:
    """One version of an agent. It never changes; None and empty fields mean the default."""

    agent_id: str
    version: int
    owner: str
    create_time: datetime
    update_time: datetime
    sampling: Sampling
    labels: Mapping[str, str]
    description: str = ""
    instructions: str = ""
    model: str = ""
    tools: Sequence[str] = ()
    """Names of the tools it may call; empty means all."""
    tool_choice: str = ""
    limits: Limits = Limits()
    response_schema: Mapping[str, object] | None = None
    approval_tools: Sequence[str] = ()
    """Names of tools whose calls need an approval; `*` for all."""
    request_class: str = ""
    """What kind of work its tasks are."""

    @property
    def has_tools(self) -> bool:
        """Whether it may call tools at all."""
        return self.tool_choice != "none"


FIELDS: Final[Mapping[str, Callable[[Agent], object]]] = {
    "description": lambda agent: agent.description,
    "instructions": lambda agent: agent.instructions,
    "model": lambda agent: agent.model,
    "tools": lambda agent: tuple(agent.tools),
    "tool_choice": lambda agent: agent.tool_choice,
    "limits": lambda agent: agent.limits,
    "response_schema": lambda agent: agent.response_schema,
    "sampling": lambda agent: agent.sampling,
    "labels": lambda agent: agent.labels,
    "approval_tools": lambda agent: tuple(agent.approval_tools),
    "request_class": lambda agent: agent.request_class,
}
"""What an update may replace."""


def agent_of(tool: str) -> str:
    """The agent that a tool of this name is asked for as; empty for any other tool."""
    return tool.removeprefix(AGENT_PREFIX) if tool.startswith(AGENT_PREFIX) else ""


@lru_cache(256)
def tool_of(agent_id: str, version: int, description: str) -> Tool:
    """The tool that an agent is: the same object for the same agent, as tools are compared so."""
    return Tool(
        name=f"{AGENT_PREFIX}{agent_id}",
        version=str(version),
        description=description or f"Asks the agent {agent_id}.",
        input_schema=ERRAND,
        examples=(),
        timeout_ms=rq.MAX_TIMEOUT_MS,
        is_idempotent=True,  # A call that is made again waits for the task it began.
        agent_id=agent_id,
    )


def check(agent: Agent) -> None:
    """Refuse what is no agent, naming every fault.

    Raises:
        InvalidArgument: `INVALID_REQUEST`.
    """
    if found := [*_own(agent), *rq.faults(_asked(agent))]:
        raise invalid(*found[: rq.MAX_FAULTS])


def check_id(agent_id: str) -> None:
    """Refuse what is no agent's id."""
    if found := [*_named(agent_id)]:
        raise invalid(*found)


def missing(agent_id: str, field: str = "agent_id") -> NotFound:
    """That there is no such agent, or none any more."""
    return NotFound(
        "AGENT_NOT_FOUND",
        f"{field}: there is no agent {agent_id[:64]}",
        field=field,
        agent_id=agent_id[:64],
        suggested_fix="use an agent_id of GET /v1/agents",
    )


def changed_since(agent_id: str, expected: int) -> Aborted:
    """That somebody else changed it first."""
    return Aborted(
        "AGENT_VERSION_CONFLICT",
        f"{agent_id} is no longer at version {expected}",
        agent_id=agent_id,
        version=str(expected),
        field="version",
        suggested_fix="get the agent again and repeat the change",
    )


def updated(agent: Agent, new: Agent, mask: Collection[str], time: datetime) -> Agent:
    """The agent with these fields of a new one; itself if that changes nothing.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; the mask names something else.
    """
    if faults := [*_masked(mask)]:
        raise invalid(*faults[: rq.MAX_FAULTS])
    changes: dict[str, Any] = {
        name: getattr(new, name) for name in mask if FIELDS[name](new) != FIELDS[name](agent)
    }
    if not changes:
        return agent
    return replace(agent, version=agent.version + 1, update_time=time, **changes)


def _own(agent: Agent) -> Iterator[Violation]:
    yield from _named(agent.agent_id)
    if len(agent.description) > MAX_DESCRIPTION:
        fix = f"send at most {MAX_DESCRIPTION} characters"
        yield Violation("description", f"has {len(agent.description)} characters", fix)
    size = len(agent.instructions.encode())
    if size > MAX_INSTRUCTIONS_BYTES:
        fix = f"send at most {MAX_INSTRUCTIONS_BYTES} bytes"
        yield Violation("instructions", f"is {size} bytes long", fix)
    for index, name in enumerate(agent.tools):
        if named(name).name in {named(other).name for other in agent.tools[:index]}:
            yield Violation(f"tools[{index}]", "is named before", "name each tool once")
    if agent.tools and not agent.has_tools:
        fix = "leave tools out, or tool_choice"
        yield Violation("tools", "cannot be called with a tool_choice of none", fix)


def _named(agent_id: str) -> Iterator[Violation]:
    if not NAME.fullmatch(agent_id):
        fix = "use 1 to 64 of A-Z a-z 0-9 _ -"
        yield Violation("agent_id", "is not an agent's id", fix)


def _masked(mask: Collection[str]) -> Iterator[Violation]:
    if len(mask) > len(FIELDS):
        yield Violation("update_mask", "names fields twice", "name each field once")
    for index, name in enumerate(mask):
        if name not in FIELDS:
            fix = f"use some of {', '.join(FIELDS)}"
            yield Violation(f"update_mask[{index}]", "is no field that can be replaced", fix)


def _asked(agent: Agent) -> rq.Request:
    """A request that asks for all that an agent says: what none may ask for, no agent may say."""
    return rq.Request(
        query="",
        messages=(),
        model=agent.model,
        tools=agent.tools,
        tool_choice=agent.tool_choice,
        response_schema=agent.response_schema,
        sampling=agent.sampling,
        timeout_ms=None,
        steps=agent.limits.steps,
        tokens=agent.limits.tokens,
        cost_usd=agent.limits.cost_usd,
        duration_ms=agent.limits.duration_ms,
        on_disconnect="",
        on_deadline="",
        client_tools=(),
        approval_tools=agent.approval_tools,
        labels=agent.labels,
        idempotency_key="",
        fingerprint="",
        source=b"",
        request_class=agent.request_class,
    )
