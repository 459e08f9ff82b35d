"""Tools as protobuf, and back; pure."""

from datetime import timedelta
from typing import Final

from runplane.tool_registry.v1 import tool_registry_pb2 as pb

from services.chassis import structs
from services.tool_registry.domain.targets import Builtin, Client, Grpc, Http, Mcp, Target
from services.tool_registry.domain.tool import Entry, Example

_MILLISECOND: Final = timedelta(milliseconds=1)
KINDS: Final[dict[type[Target], "pb.ToolKind.ValueType"]] = {
    Builtin: pb.TOOL_KIND_BUILTIN,
    Http: pb.TOOL_KIND_HTTP,
    Grpc: pb.TOOL_KIND_GRPC,
    Mcp: pb.TOOL_KIND_MCP,
    Client: pb.TOOL_KIND_CLIENT,
}


def tool(entry: Entry) -> pb.Tool:
    """A tool as callers see it."""
    definition = entry.definition
    packed = pb.Tool(
        name=definition.name,
        version=definition.version,
        description=definition.description,
        examples=map(_example, definition.examples),
        timeout_ms=definition.timeout / _MILLISECOND,
        is_idempotent=definition.is_idempotent,
        requires_approval=definition.requires_approval,
        kind=KINDS[type(entry.target)],
    )
    structs.from_dict(definition.input_schema.document, packed.input_schema)
    structs.from_dict(definition.output_schema.document, packed.output_schema)
    return packed


def _example(example: Example) -> pb.ToolExample:
    packed = pb.ToolExample(query=example.query)
    structs.from_dict(example.input, packed.input)
    structs.from_value(example.output, packed.output)
    return packed
