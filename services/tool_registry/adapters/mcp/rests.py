"""How long a server's lists are left alone between two looks at them. Pure."""

from typing import Final

from services.tool_registry.adapters.mcp.bounds import RESTLESS_MOST

AT_ONCE: Final = 0.1
"""What changes in one go is mostly told in pieces."""
SUDDEN: Final = 8
"""Looks that may follow each other at once."""


class Rests:
    """Of one server. Changes are looked at when they come; only those that come too often wait, and
    longer and longer where each look finds something else."""

    def __init__(self, least: float) -> None:
        """`least` is how many seconds apart looks are in the long run."""
        self._least = least
        self._looks = 0.0
        """How many there were lately: one is forgotten with each `interval`."""
        self._changes = -1
        """Looks in a row that found something else than the one before. The first finds all."""
        self._last = 0.0

    def after(self, now: float, *, has_changes: bool) -> float:
        """Seconds from a look at this time to the next one, if something changes."""
        self._changes = self._changes + 1 if has_changes else 0
        doubled = self._least * 2.0 ** min(max(self._changes - SUDDEN, 0), 10)
        interval = max(min(doubled, RESTLESS_MOST), self._least)
        self._looks = max(self._looks - (now - self._last) / interval, 0) + 1
        self._last = now
        return min(AT_ONCE, interval) if self._looks <= SUDDEN - 1 else interval
