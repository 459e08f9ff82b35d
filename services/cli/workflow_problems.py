"""What is wrong with definitions of workflows, as lines that people read."""

from collections.abc import Iterator
from typing import IO, Final

from services.workflow.domain.language import Outcome, outcome

MOST: Final = 1024 * 1024
"""Bytes that are read of a file; the language refuses a quarter of it."""


def wrong_in(name: str, text: bytes) -> Iterator[str]:
    """What keeps a definition from being stored, a line each."""
    if (checked := outcome(text)).errors:
        yield from found_in(name, checked)


def named(file: IO[bytes]) -> str:
    """What lines call a file."""
    name = getattr(file, "name", "-")
    return "<stdin>" if name in {"-", 0} else str(name)


def found_in(name: str, found: Outcome) -> Iterator[str]:
    """What is wrong with it, a line each; or that it is valid."""
    for problem in found.problems:
        place = f"{name}:{problem.line}:{problem.column}" if problem.line else name
        kind = "warning: " if problem.is_warning else ""
        fix = f" ({problem.suggested_fix})" if problem.suggested_fix else ""
        said = f"{problem.field} {problem.message}".strip()
        yield f"{place}: {kind}{said}{fix}".replace("\n", " ")
    if found.definition is not None:
        made = found.definition
        yield f"{name}: {made.name} is valid: {len(made.states)} states, from {made.initial}"
