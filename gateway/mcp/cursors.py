"""Where a list goes on, as the opaque text that clients send back."""

import base64
import binascii
import json
from contextlib import suppress
from typing import Any, Final

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

_MAX: Final = 4_096


def sealed(place: Any) -> str:
    """A place in a list, as text."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def opened(cursor: str | None, kind: type) -> Any:
    """The place that a cursor stands for; None for the beginning.

    Raises:
        MCPError: it is none of this list's.
    """
    if cursor is None:
        return None
    place = None
    if len(cursor) <= _MAX:
        with suppress(ValueError, binascii.Error):
            padded = cursor + "=" * (-len(cursor) % 4)
            place = json.loads(base64.urlsafe_b64decode(padded.encode()))
    if not isinstance(place, kind):
        raise MCPError(INVALID_PARAMS, "the cursor is none that this list gave")
    return place
