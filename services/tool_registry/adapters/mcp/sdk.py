"""All of the adapter that needs the SDK, to be imported when there is a server to speak with."""

from services.tool_registry.adapters.mcp.conversation import Conversation
from services.tool_registry.adapters.mcp.faults import problem
from services.tool_registry.adapters.mcp.session import quiet, session
from services.tool_registry.adapters.mcp.templates import fits

__all__ = ["Conversation", "fits", "problem", "quiet", "session"]
