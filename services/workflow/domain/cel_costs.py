"""What evaluating a CEL expression may cost, told from its text and the size of its variables."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.workflow.domain.cel_values import Extent

MAX_MACROS: Final = 8
MAX_NESTING: Final = 2
MAX_PLUSES: Final = 64
ITERATIONS: Final = 10_000
"""The library's own limit, over all the loops of an evaluation."""
MAX_COST: Final = 20_000_000
MAX_WORK: Final = 5_000_000
"""Of all expressions of a template together, about 0.4 s: see `Shape.work`."""

TEXTS: Final = re.compile(
    r"//[^\n]*"
    r"|[bB]?[rR][bB]?(?:\"\"\"(?s:.*?)\"\"\"|'''(?s:.*?)'''|\"[^\"\n]*\"|'[^'\n]*')"
    r"|\"\"\"(?s:\\.|.)*?\"\"\"|'''(?s:\\.|.)*?'''"
    r"|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"
)
"""A literal text, or a comment."""

_MACRO: Final = re.compile(r"\.\s*(all|exists|exists_one|map|filter)\s*\(")
_MENTIONED: Final = re.compile(r"\b(?:data|output|payload)\b")
_COMPARING: Final = re.compile(r"[=!]=|\bin\b")
_BUILDING: Final = 20
"""How much dearer a list is that a loop makes: each item copies those before it."""
_MATCHING: Final = 20_000
"""What compiling a pattern costs; within a loop, it is compiled each time."""


class ExpressionError(ValueError):
    """The text is no expression that can be evaluated here."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        """In the expression, from 1, as the column is."""
        self.column = column


@dataclass(frozen=True, slots=True)
class Shape:
    """What bounds the cost of an expression, whatever it is evaluated over."""

    macros: int = 0
    nesting: int = 0
    maps: int = 0
    pluses: int = 0
    commas: int = 0
    mentions: int = 0
    """Of variables that may be large."""
    is_matching: bool = False
    is_comparing: bool = False

    def cost(self, extent: Extent, length: int) -> int:
        """About how many values and characters an evaluation touches at most."""
        items = max(extent.items, self.commas + 1)
        iterations: int = min(ITERATIONS, self.macros * items**self.nesting)
        growth: int = (1 + self.pluses) ** (self.macros + 1)
        if self.maps > 1:  # [x, x] of [x, x] of …
            growth *= (1 + self.commas) ** self.maps
        wide = items * (_BUILDING if self.maps else 1)
        if self.is_comparing:  # Of all of the data with all of the data, say.
            wide = max(wide, extent.values)
        wide = max(wide, max(extent.characters, length) // 16) * growth
        return iterations * (wide + (_MATCHING if self.is_matching else 0))

    def work(self, extent: Extent, length: int) -> int:
        """About how much of the library's time an evaluation takes: in values that it reads, at
        80 ns. Each that is mentioned is read as a whole, and each + copies what is before it."""
        read = extent.values * (1 + self.mentions // 6) if self.mentions else 0
        texts = extent.characters * self.mentions // 64
        copied = extent.characters * self.pluses**2 // 200
        looped = self.cost(extent, length) // 10 if self.macros else 0
        return read + texts + copied + looped


def at(message: str, text: str, index: int) -> ExpressionError:
    before = text[:index]
    return ExpressionError(message, before.count("\n") + 1, index - before.rfind("\n"))


def shape(text: str) -> Shape:
    bare = TEXTS.sub(lambda found: " " * len(found[0]), text)
    starts = {found.end() - 1: found for found in _MACRO.finditer(bare)}
    nesting = _nesting(bare, starts, text)
    macros = len(starts)
    if macros > MAX_MACROS:
        raise ExpressionError(f"has {macros} loops; at most {MAX_MACROS} are allowed")
    pluses = bare.count("+")
    if pluses > MAX_PLUSES:
        raise ExpressionError(f"has {pluses} times +; at most {MAX_PLUSES} are allowed")
    return Shape(
        macros=macros,
        nesting=nesting,
        maps=sum(found[1] in {"map", "filter"} for found in starts.values()),
        pluses=pluses,
        commas=bare.count(","),
        mentions=len(_MENTIONED.findall(bare)),
        is_matching="matches" in bare,
        is_comparing=_COMPARING.search(bare) is not None,
    )


def _nesting(bare: str, starts: Mapping[int, re.Match[str]], text: str) -> int:
    """How deep loops stand within loops."""
    deepest = 0
    opened: list[bool] = []
    for index, character in enumerate(bare):
        if character == "(":
            opened.append(index in starts)
            deepest = max(deepest, sum(opened))
            if deepest > MAX_NESTING:
                said = f"has loops within loops, {deepest} deep; at most {MAX_NESTING} are allowed"
                raise at(said, text, starts[index].start() + 1)
        elif character == ")" and opened:
            opened.pop()
    return deepest
