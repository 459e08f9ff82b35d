"""What `tools/list` shows: registered tools, and agents as tools."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Wire = dict[str, Any]

AGENT: Final = "agent__"
# Keys of ours in `_meta`.
VERSION: Final = "dev.runplane/version"
TAGS: Final = "dev.runplane/tags"
UNAVAILABLE: Final = "dev.runplane/unavailable"
SERVER: Final = "dev.runplane/server"

_NOT_OFFERED: Final = frozenset({"TOOL_STATE_DEPRECATED"})
_NOT_CALLED: Final = frozenset({"TOOL_KIND_CLIENT"})
_DEFAULT_SECONDS: Final = 30.0
_AGENT_SECONDS: Final = 300.0
_HEADER: Final = '"x-mcp-header"'

_AGENT_INPUT: Final[Wire] = {
    "type": "object",
    "properties": {
        "query": {"type": "string", "description": "What is asked"},
        "session_id": {
            "type": "string",
            "description": "The conversation to go on with, as an answer before named it",
        },
    },
    "required": ["query"],
    "additionalProperties": False,
}
_AGENT_OUTPUT: Final[Wire] = {
    "type": "object",
    "properties": {
        "task_id": {"type": "string"},
        "session_id": {"type": "string"},
        "answer": {"type": "string"},
        "output": {"description": "The answer as JSON, where the agent answers such"},
    },
    "required": ["task_id", "answer"],
}


@dataclass(frozen=True, slots=True)
class Offer:
    """One tool of the list."""

    name: str
    wire: Wire
    """As MCP shows it."""
    seconds: float = _DEFAULT_SECONDS
    """How long a call may take."""
    is_long: bool = False
    """Whether whoever can wait for a task had better do so."""
    tells: bool = False
    """Whether calls say how far they are."""
    has_headers: bool = False
    """Whether some of its arguments stand in headers, too."""
    size_bytes: int = 0
    """About what it takes in a list."""

    @property
    def agent_id(self) -> str:
        """Of an agent: its id; else empty."""
        return agent_of(self.name)

    @property
    def has_schema(self) -> bool:
        """Whether it says what its results look like."""
        return "outputSchema" in self.wire

    def shown(self, *, is_modern: bool) -> Wire:
        """As a version shows it: those before 2026-07-28 know schemas of objects only."""
        if is_modern or not self.has_schema or is_object(self.wire["outputSchema"]):
            return self.wire
        return {key: value for key, value in self.wire.items() if key != "outputSchema"}


def agent_of(name: str) -> str:
    """The agent that is called by this name; empty if it is a tool's."""
    return name.removeprefix(AGENT) if name.startswith(AGENT) else ""


def is_object(schema: object) -> bool:
    """Whether a schema says that it describes objects."""
    return isinstance(schema, Mapping) and schema.get("type") == "object"


def of_tools(tools: Iterable[Mapping[str, Any]]) -> Iterable[Offer]:
    """Those of the registry's tools that can be called from here and are meant to be."""
    return (
        _of_tool(tool)
        for tool in tools
        if tool.get("state") not in _NOT_OFFERED and tool.get("kind") not in _NOT_CALLED
    )


def of_agents(agents: Iterable[Mapping[str, Any]]) -> Iterable[Offer]:
    """Agents, each as a tool."""
    return map(_of_agent, agents)


def _of_tool(tool: Mapping[str, Any]) -> Offer:
    wire: Wire = {
        "name": tool["name"],
        "description": tool.get("description", ""),
        "inputSchema": {**(tool.get("input_schema") or {}), "type": "object"},
        "annotations": {"idempotentHint": bool(tool.get("is_idempotent"))},
        "_meta": _meta(tool),
    }
    schema = json.dumps(wire["inputSchema"])
    if title := tool.get("title"):
        wire["title"] = title
    if output := tool.get("output_schema"):
        wire["outputSchema"] = output
    return Offer(
        tool["name"],
        wire,
        seconds=(tool.get("timeout_ms") or 0) / 1000 or _DEFAULT_SECONDS,
        is_long=bool(tool.get("is_long_running")),
        tells=bool(tool.get("reports_progress")),
        has_headers=_HEADER in schema,
        size_bytes=len(schema) + len(json.dumps({**wire, "inputSchema": None})),
    )


def _meta(tool: Mapping[str, Any]) -> Wire:
    said = {
        VERSION: tool.get("version"),
        TAGS: tool.get("tags"),
        UNAVAILABLE: tool.get("unavailable"),
        SERVER: (tool.get("mcp") or {}).get("server"),
    }
    return {key: value for key, value in said.items() if value}


def _of_agent(agent: Mapping[str, Any]) -> Offer:
    name = f"{AGENT}{agent['agent_id']}"
    wire: Wire = {
        "name": name,
        "description": agent.get("description") or f"Asks the agent {agent['agent_id']}.",
        "inputSchema": _AGENT_INPUT,
        "outputSchema": _AGENT_OUTPUT,
        "annotations": {"idempotentHint": False},
        "_meta": {VERSION: str(agent.get("version", ""))},
    }
    size = len(json.dumps(wire))
    return Offer(name, wire, seconds=_AGENT_SECONDS, is_long=True, tells=True, size_bytes=size)
