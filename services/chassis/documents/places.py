"""Where the parts of a document stand: paths as in `Problem.field`, lines and columns from 1."""

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from services.chassis.documents.problem import Problem

MAX_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 30
MAX_NODES: Final = 10_000
MAX_WHOLE: Final = 2**53
"""The largest integer that every reader of JSON agrees on."""


class Span(NamedTuple):
    """Where something stands in the text: characters, the first and the one after the last."""

    start: int
    end: int


class Unreadable(Exception):
    """The text is no document of plain values; says the first reason."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read. Paths are as in `Problem.field`."""

    value: Any
    text: str = ""
    """What it was read from; empty for an object that never was a text."""
    values: Mapping[str, Span] = field(default_factory=dict)
    keys: Mapping[str, Span] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)
    """How a value was written that is no text, such as `true`: where a name belongs, it is one."""
    lines: tuple[int, ...] = ()

    def position(self, index: int) -> tuple[int, int]:
        """The line and column of a character, from 1."""
        line = bisect_right(self.lines, index)
        return line, index - self.lines[line - 1] + 1

    def place(self, path: str, *, of_key: bool = False, within: str = "") -> tuple[int, int]:
        """The line and column of what is at the path, or of the nearest thing around it; (0, 0)
        where there is no text. `within` is a part of the value's text to look for."""
        if not self.text:
            return 0, 0
        if of_key and path in self.keys:
            return self.position(self.keys[path].start)
        while path not in self.values:
            path = parent(path)
        span = self.values[path]
        found = self.text.find(within, span.start, span.end) if within else -1
        return self.position(found if found >= 0 else span.start)


def child(path: str, key: str | int) -> str:
    """The path of a member or an item."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def parent(path: str) -> str:
    """The path of what holds it; empty for the whole."""
    return path[: max(path.rfind("."), path.rfind("["), 0)]


def finite(value: float, path: str) -> float:
    if isinstance(value, int) and abs(value) > MAX_WHOLE:
        fix = "write it as a text, in quotes"
        raise Unreadable(Problem(path, "is an integer beyond 2^53, which JSON blurs", fix))
    if not math.isfinite(value):
        raise Unreadable(Problem(path, "is no finite number", "use a finite number"))
    return value


def beyond(depth: int, path: str, line: int = 0, column: int = 0) -> Problem:
    if depth > MAX_DEPTH:
        said = f"is nested more than {MAX_DEPTH} levels deep"
        return Problem(path, said, "make it flatter", line, column)
    said = f"has more than {MAX_NODES:,} values"
    return Problem(path, said, "split it into several", line, column)
