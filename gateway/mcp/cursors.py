"""Where a list of the edge's own goes on, as the opaque text that clients send back."""

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from services.chassis.errors import InvalidArgument
from services.chassis.paging import Pager


class Cursors:
    """Cursors of one list, for the tenant that asks."""

    def __init__(self, key: bytes, what: str) -> None:
        self._pager = Pager(key, f"mcp {what}")

    def sealed(self, place: str) -> str:
        """A place in the list, as text."""
        return self._pager.token(place)

    def opened(self, cursor: str | None) -> str:
        """The place that a cursor stands for; empty for the beginning.

        Raises:
            MCPError: it is none of this list's.
        """
        try:
            return self._pager.after(cursor or "")
        except InvalidArgument:
            raise MCPError(INVALID_PARAMS, "the cursor is none that this list gave") from None
