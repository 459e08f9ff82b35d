"""Tools of a server as the registry keeps them."""

from typing import Final

from mcp_types import Tool as McpTool

from services.chassis.errors import InvalidArgument
from services.chassis.schema import Schema
from services.tool_registry.adapters.mcp.bounds import cut
from services.tool_registry.domain.server import Server
from services.tool_registry.domain.targets import Mcp
from services.tool_registry.domain.tool import NAME, RESERVED, Definition, Entry

_MAX_DESCRIPTION: Final = 4096
_MAX_TITLE: Final = 128
FIRST: Final = "1.0.0"
"""Of every tool; the registry makes versions of what changes."""


class Refused(Exception):
    """It cannot be a tool here. The message says why."""


def entry(server: Server, tool: McpTool) -> Entry:
    """A tool as it is to be kept.

    Raises:
        Refused: it cannot be.
    """
    name = server.named(tool.name)
    if not NAME.fullmatch(name) or RESERVED.fullmatch(name):
        raise Refused(f"{cut(name, 100)!r} is no name: 1 to 64 of A-Z a-z 0-9 _ -")
    hints = tool.annotations
    title = tool.title or (hints.title if hints else None) or ""
    description = tool.description or title or f"The tool {tool.name} of {server.namespace}."
    definition = Definition(
        name=name,
        version=FIRST,
        description=cut(description, _MAX_DESCRIPTION - 1),
        input_schema=_input(tool),
        output_schema=_schema(tool.output_schema or {}, "output"),
        examples=(),
        timeout=server.timeout,
        is_idempotent=bool(hints and (hints.idempotent_hint or hints.read_only_hint)),
        title=cut(title, _MAX_TITLE - 1),
        tags=server.tags,
        requires_approval=server.requires_approval,
        reports_progress=True,
    )
    return Entry(definition, Mcp(server.namespace, tool.name))


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
