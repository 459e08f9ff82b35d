"""What a tool may ask its caller for while it runs. The words are MCP's. Pure."""

from collections.abc import Mapping
from typing import Final

METHODS: Final[Mapping[str, str]] = {
    "elicitation": "elicitation/create",
    "roots": "roots/list",
    "sampling": "sampling/createMessage",
}
"""The method that asks a caller who has these capabilities."""
CAPABILITIES: Final[Mapping[str, str]] = {method: name for name, method in METHODS.items()}
"""The capability that a caller needs to be asked by a method."""
MAX_REQUESTS: Final = 16  # At once.
MAX_REQUEST_BYTES: Final = 64 * 1024  # Of requests as JSON, and of the state.


def method_of(request: object) -> str:
    """By which method a request asks; empty if it is none."""
    method = request.get("method") if isinstance(request, Mapping) else None
    return method if isinstance(method, str) else ""
