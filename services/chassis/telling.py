"""What a tool tells while it runs, as all who pass it on understand it. Pure."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

LEVELS: Final = (
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
)
"""Those of RFC 5424, the least first."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running call is."""

    done: float
    total: float | None = None
    message: str = ""

    def within(self, limit_bytes: int) -> "Progress | None":
        """The same in bounds; None if it says nothing."""
        if not _is_finite(self.done):
            return None
        total = self.total if self.total is not None and _is_finite(self.total) else None
        return Progress(float(self.done), total, cut(str(self.message), limit_bytes))


@dataclass(frozen=True, slots=True)
class Logged:
    """What a tool says while it runs."""

    level: str
    """One of `LEVELS`."""
    message: str

    def within(self, limit_bytes: int) -> "Logged":
        """The same in bounds; a level that is none is `info`."""
        level = self.level if self.level in LEVELS else "info"
        return Logged(level, cut(str(self.message), limit_bytes))


Told = Progress | Logged
Report = Callable[[Told], None]
"""Takes what a tool tells while it runs; never waits, and may drop some of it."""


def unheard(_: Told) -> None:
    """The report of a call that nobody listens to."""


def cut(text: str, limit_bytes: int) -> str:
    """The text, or its beginning and an ellipsis. What is no Unicode becomes question marks."""
    raw = text[: limit_bytes + 1].encode(errors="replace")
    if len(raw) <= limit_bytes:
        return raw.decode()
    return raw[: limit_bytes - len("…".encode())].decode(errors="ignore") + "…"


def _is_finite(number: object) -> bool:
    try:
        return isinstance(number, int | float) and math.isfinite(number)
    except OverflowError:
        return False
