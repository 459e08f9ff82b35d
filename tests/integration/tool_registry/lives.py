"""Tools that tests register."""

from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from runplane.tool_registry.v1 import tool_registry_pb2 as pb

from tests.integration.tool_registry.conftest import Registry

DOOR: Mapping[str, Any] = {
    "name": "door",
    "description": "Opens a door.",
    "client": {},
    "tags": ["home"],
    "input_schema": {
        "type": "object",
        "properties": {"which": {"type": "string"}},
        "required": ["which"],
        "additionalProperties": False,
    },
}


def tool(**changes: object) -> pb.Tool:
    """A door, otherwise."""
    return json_format.ParseDict({**DOOR, **changes}, pb.Tool())


async def registered(registry: Registry, **changes: object) -> pb.Tool:
    """Register a door."""
    return await registry.stub.RegisterTool(pb.RegisterToolRequest(tool=tool(**changes)), timeout=5)


async def updated(registry: Registry, name: str = "door", **changes: object) -> pb.Tool:
    """Change a door."""
    made = json_format.ParseDict(changes, pb.Tool())
    return await registry.stub.UpdateTool(pb.UpdateToolRequest(name=name, tool=made), timeout=5)


async def got(registry: Registry, version: str = "", name: str = "door") -> pb.Tool:
    """Read a door."""
    return await registry.stub.GetTool(pb.GetToolRequest(name=name, version=version), timeout=5)


async def listed(registry: Registry, **asked: Any) -> list[str]:
    """Names and versions of the tools that were registered, over all pages."""
    found: list[str] = []
    request = pb.ListToolsRequest(**asked)
    while True:
        page = await registry.stub.ListTools(request, timeout=10)
        found += [
            f"{each.name} {each.version}"
            for each in page.tools
            if each.kind != pb.TOOL_KIND_BUILTIN
        ]
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token
