"""All of the adapter that needs the SDK, to be imported when there is a server to speak with."""

from mcp.shared.exceptions import MCPError

from services.tool_registry.adapters.mcp.calls import call
from services.tool_registry.adapters.mcp.faults import problem
from services.tool_registry.adapters.mcp.lists import taken
from services.tool_registry.adapters.mcp.reading import complete, prompt, read
from services.tool_registry.adapters.mcp.session import Session, check, quiet, session
from services.tool_registry.adapters.mcp.templates import fits

__all__ = [
    "MCPError",
    "Session",
    "call",
    "check",
    "complete",
    "fits",
    "problem",
    "prompt",
    "quiet",
    "read",
    "session",
    "taken",
]
