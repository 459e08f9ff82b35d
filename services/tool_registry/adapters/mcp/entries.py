"""Tools of a server as the registry keeps them."""

import json
from collections.abc import Iterator, Mapping
from typing import Final

from mcp_types import Tool as McpTool

from services.chassis.errors import InvalidArgument
from services.chassis.schema import Schema
from services.tool_registry.adapters.mcp.bounds import cut
from services.tool_registry.domain.names import NAME, RESERVED
from services.tool_registry.domain.server import Server
from services.tool_registry.domain.targets import Mcp
from services.tool_registry.domain.texts import plain
from services.tool_registry.domain.tool import Definition, Entry, Example
from services.tool_registry.domain.version import FIRST
from services.tool_registry.usecases.resources import SERVER

_MAX_DESCRIPTION: Final = 4096
_MAX_TITLE: Final = 128
_MAX_EXAMPLES: Final = 4
_MAX_EXAMPLE: Final = 2048
EXAMPLES: Final = "dev.runplane/examples"
LASTS: Final = "dev.runplane/long-running"
_TASKS: Final = frozenset({"optional", "required"})


class Refused(Exception):
    """It cannot be a tool here. The message says why."""


def entry(server: Server, tool: McpTool) -> Entry:
    """A tool as it is to be kept.

    Raises:
        Refused: it cannot be.
    """
    name = server.named(tool.name)
    if why := served_on(tool.meta):
        raise Refused(why)
    if not NAME.fullmatch(name) or RESERVED.fullmatch(name):
        raise Refused(f"{cut(name, 100)!r} is no name: 1 to 64 of A-Z a-z 0-9 _ -")
    hints = tool.annotations
    title = plain(tool.title or (hints.title if hints else None) or "")
    description = (
        plain(tool.description or "") or title or f"The tool {tool.name} of {server.namespace}."
    )
    input_schema, output_schema = _input(tool), _schema(tool.output_schema or {}, "output")
    definition = Definition(
        name=name,
        version=FIRST,  # The registry makes versions of what changes.
        description=cut(description, _MAX_DESCRIPTION - 1),
        input_schema=input_schema,
        output_schema=output_schema,
        examples=tuple(_examples(tool, input_schema, output_schema)),
        timeout=server.timeout,
        is_idempotent=bool(hints and (hints.idempotent_hint or hints.read_only_hint)),
        title=cut(title, _MAX_TITLE - 1),
        tags=server.tags,
        requires_approval=server.requires_approval,
        reports_progress=True,
        is_long_running=_lasts(tool),
    )
    return Entry(definition, Mcp(server.namespace, tool.name))


def served_on(meta: Mapping[str, object] | None) -> str:
    """Why an item is left out that another suite serves on for a server of its own; empty if it is
    none. Of two suites that serve each other's on, each would send the other back what it asks."""
    if SERVER not in (meta or {}):
        return ""
    return "it is served on for another MCP server: register that one"


def _examples(tool: McpTool, given: Schema, answered: Schema) -> Iterator[Example]:
    """Calls that a server shows of its tool, for models that have to see one. MCP has none, so they
    stand in `_meta`; what is no example of the tool is passed over."""
    said = (tool.meta or {}).get(EXAMPLES)
    for each in said[:_MAX_EXAMPLES] if isinstance(said, list) else ():
        if not isinstance(each, dict) or len(json.dumps(each)) > _MAX_EXAMPLE:
            continue
        query, value, output = each.get("query"), each.get("input"), each.get("output")
        is_one = isinstance(query, str) and isinstance(value, dict) and given.is_valid(value)
        if is_one and answered.is_valid(output):
            yield Example(str(query), dict(value or {}), output)


def _lasts(tool: McpTool) -> bool:
    """Whether calls had better be tasks: as servers said it in 2025-11-25, or in `_meta`."""
    support = tool.execution.task_support if tool.execution else None
    return support in _TASKS or (tool.meta or {}).get(LASTS) is True


def _input(tool: McpTool) -> Schema:
    document = tool.input_schema
    if document.get("type", "object") != "object":
        raise Refused("its inputSchema is not one of an object")
    return _schema({"type": "object", **document}, "input")


def _schema(document: dict[str, object], field: str) -> Schema:
    try:
        return Schema(document, field=field)
    except InvalidArgument as error:
        raise Refused(f"its {field}Schema: {cut(error.message, 300)}") from None
