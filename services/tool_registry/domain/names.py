"""Names of tools: which there may be, and what to say of one that is not there."""

from collections.abc import Collection
from difflib import get_close_matches
from typing import Final

from services.chassis.errors import NotFound, Violation, invalid
from services.tool_registry.domain.tool import NAME, RESERVED

_NAMES_SHOWN: Final = 12


def check(name: str) -> None:
    """Refuse what is no tool's name. Raises InvalidArgument `INVALID_REQUEST`."""
    if not NAME.fullmatch(name):
        fix = "send a tool's name: 1 to 64 of A-Z a-z 0-9 _ -"
        raise invalid(Violation("name", "is not a tool's name", fix))


def check_new(name: str) -> None:
    """Refuse what cannot be a tool's name. Raises InvalidArgument `INVALID_REQUEST`."""
    if RESERVED.fullmatch(name) or not NAME.fullmatch(name):
        fix = "use 1 to 64 of A-Z a-z 0-9 _ -; not read_result, nor agent__ at the beginning"
        raise invalid(Violation("name", f"{name[:64]!r} cannot be a tool's name", fix))


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
