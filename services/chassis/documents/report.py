"""What is wrong with a file, for people: a line a fault, with its place and its fix. Pure."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from services.chassis.documents.problem import Problem

MOST: Final = 20


def report(what: str, path: Path, problems: Iterable[Problem]) -> str:
    """All faults of a file, in the order in which they stand there."""
    faults = sorted(problems, key=lambda each: (each.line, each.column))
    left = len(faults) - MOST
    more = [f"and {left} more"] if left > 0 else []
    lines = [*(_line(path.name, each) for each in faults[:MOST]), *more]
    return "\n  ".join([f"the {what} of {path} cannot be used:", *lines])


def unreadable(what: str, path: Path, error: OSError) -> str:
    """The same of a file that cannot be read."""
    return f"the {what} of {path} cannot be used: it cannot be read: {error.strerror}"


def _line(name: str, problem: Problem) -> str:
    where = f"{name}:{problem.line}:{problem.column}" if problem.line else name
    said = f"{problem.field} {problem.message}".strip()
    return f"{where}: {said}" + (f" ({problem.suggested_fix})" if problem.suggested_fix else "")
