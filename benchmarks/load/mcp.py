"""MCP over streamable HTTP as bytes: protocol 2026-07-28, without a session."""

from typing import Final

from benchmarks.load.job import JSON

PATH: Final = "/mcp"
VERSION: Final = "2026-07-28"
_META: Final[JSON] = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def body(method: str, **params: JSON) -> dict[str, JSON]:
    """A request of this method."""
    return {
        "jsonrpc": "2.0",
        "id": 1,
        "method": method,
        "params": {**params, "_meta": _META},
    }


def headers(method: str, name: str = "") -> dict[str, str]:
    """What goes with it; `name` of the tool that is called."""
    named = {"mcp-name": name} if name else {}
    return {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": VERSION,
        "mcp-method": method,
        **named,
    }
