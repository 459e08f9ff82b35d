"""Names: which there may be, and what to say of a tool that is not there."""

import re
from collections.abc import Collection
from difflib import get_close_matches
from typing import Final

from services.chassis.errors import NotFound, Violation, invalid

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Of a tool."""
RESERVED: Final = re.compile(r"read_result|agent__.*", re.IGNORECASE)
"""Names of tools that callers have themselves (see the contract of `Tool.name`)."""
NAMESPACE: Final = re.compile(r"(?!(?i:agent)\Z)[A-Za-z0-9-]{1,32}")
"""What may begin the names of tools that come together."""
TAG: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
MAX_TAGS: Final = 16
"""Of a tool."""
SECRET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

_NAMES_SHOWN: Final = 12


def check(name: str) -> None:
    """Refuse what is no tool's name. Raises InvalidArgument `INVALID_REQUEST`."""
    if not NAME.fullmatch(name):
        fix = "send a tool's name: 1 to 64 of A-Z a-z 0-9 _ -"
        raise invalid(Violation("name", "is not a tool's name", fix))


def missing(name: str, known: Collection[str]) -> NotFound:
    """That there is no such tool, with a name that was perhaps meant."""
    close = get_close_matches(name.lower(), known, 1)
    listed = ", ".join(sorted(known)[:_NAMES_SHOWN])
    return NotFound(
        "TOOL_NOT_FOUND",
        f"there is no tool {name}",
        tool=name,
        field="name",
        suggested_fix=f"use {close[0]}" if close else f"use one of {listed or 'none'}",
    )
