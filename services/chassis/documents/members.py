"""Values of a document as what they should be. What is wrong is written down, with its place and a
fix, and reading goes on: a document's problems are all told at once.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, Final, Protocol, TypeVar

from services.chassis.documents.places import Reading, child
from services.chassis.documents.problem import Problem

Number = TypeVar("Number", int, float)
Kind = TypeVar("Kind")

MAX_PROBLEMS: Final = 100
MAX_DURATION: Final = timedelta(days=400)

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_AMOUNT: Final = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)\s*(ms|s|m|h|d)")
_ISO: Final = re.compile(
    r"P(?:(?P<d>\d{1,9})D)?"
    r"(?:T(?=\d)(?:(?P<h>\d{1,9})H)?(?:(?P<m>\d{1,9})M)?(?:(?P<s>\d{1,9}(?:\.\d{1,9})?)S)?)?"
)
_KINDS: Final[Mapping[type, str]] = {
    type(None): "nothing",
    bool: "a truth value",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "an object",
}


class Miswritten(Protocol):
    """What is wrong with a text within a text."""

    message: str
    line: int
    """In that text, from 1, as the column is."""
    column: int


class Sheet:
    """Where problems are written down."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.problems: list[Problem] = []
        self.expressions = 0
        """How many have been seen."""

    def add(self, problem: Problem) -> None:
        """Write it down, unless there are more than anybody reads."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


class Member:
    """One value of the document, where it stands."""

    def __init__(self, sheet: Sheet, path: str, holder: Any, key: str | int) -> None:
        self.sheet = sheet
        self.path = path
        self._holder = holder
        self._key = key

    @property
    def value(self) -> Any:
        """As it was read."""
        return self._holder[self._key]

    @property
    def is_object(self) -> bool:
        return isinstance(self.value, dict)

    def wrong(self, message: str, fix: str = "", *, of_key: bool = False) -> None:
        """Write down what is wrong with it."""
        line, column = self.sheet.reading.place(self.path, of_key=of_key)
        self.sheet.add(Problem(self.path, message, fix, line, column))

    def miswritten(self, error: Miswritten, expression: str) -> None:
        """Write down what is wrong with an expression in it."""
        lines = expression.split("\n")
        shown = lines[min(error.line, len(lines)) - 1]
        line, column = self.sheet.reading.place(self.path, within=shown.strip())
        if self._stands(shown.strip(), line, column):
            column += max(error.column - 1 - (len(shown) - len(shown.lstrip())), 0)
        message = f"is no expression: {error.message}"
        self.sheet.add(Problem(self.path, message, "write CEL", line, column))

    def _stands(self, shown: str, line: int, column: int) -> bool:
        if not line or not shown:
            return False
        start = self.sheet.reading.lines[line - 1] + column - 1
        return self.sheet.reading.text.startswith(shown, start)

    def at(self, key: str | int) -> "Member":
        """What it holds under a key."""
        return Member(self.sheet, child(self.path, key), self.value, key)

    def members(self, known: Sequence[str]) -> "dict[str, Member]":
        """What it holds, by name; what it should not hold is written down."""
        found = self.entries()
        for name, each in found.items():
            if name not in known:
                each.wrong(UNKNOWN, fix_of_unknown(name, known), of_key=True)
        return {name: each for name, each in found.items() if name in known}

    def entries(self) -> "dict[str, Member]":
        """What it holds, whatever the names."""
        if not isinstance(self.value, dict):
            self._unlike("an object")
            return {}
        return {name: self.at(name) for name in self.value}

    def items(self, most: int, what: str) -> "Iterator[Member]":
        """What it lists."""
        if not isinstance(self.value, list):
            self._unlike(f"a list of {what}")
            return iter(())
        if len(self.value) > most:
            self.wrong(f"has {len(self.value):,} {what}; at most {most} are allowed", "use fewer")
        return (self.at(index) for index in range(min(len(self.value), most)))

    def name(self) -> str:
        """A name; empty if it is none. What YAML took for a number or a truth value is the text
        that stands there."""
        if not isinstance(self.value, str) and self.path in self.sheet.reading.written:
            self._holder[self._key] = self.sheet.reading.written[self.path]
        if not isinstance(self.value, str):
            self._unlike("a name")
            return ""
        if not is_name(self.value):
            self.wrong(f"is not a name: {self.value[:64]!r}", NAME_FIX)
            return ""
        return self.value

    def text(self, most: int) -> str:
        """A text."""
        if not isinstance(self.value, str):
            self._unlike("a text")
            return ""
        if len(self.value) > most:
            said = f"has {len(self.value):,} characters; at most {most:,} are allowed"
            self.wrong(said, "shorten it")
            return ""
        return self.value

    def flag(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            self._unlike("true or false")
        return self.value is True

    def number(self, low: Number, high: Number, default: Number) -> Number:
        """A number within bounds."""
        kinds = (int,) if isinstance(low, int) else (int, float)
        if isinstance(self.value, bool) or not isinstance(self.value, kinds):
            self._unlike("a whole number" if isinstance(low, int) else "a number")
            return default
        if not low <= self.value <= high:
            self.wrong(f"is {self.value}", f"use {low} to {high}")
            return default
        return type(low)(self.value)

    def duration(self, low: timedelta, high: timedelta, default: timedelta) -> timedelta:
        """A time span."""
        found = _span(self.value)
        if found is None:
            self.wrong("is not a time span", "write 30s, 5m, 1h, 2d, or ISO 8601 such as PT30S")
            return default
        if not low <= found <= high:
            self.wrong(f"is {self.value}", f"use {_shown(low)} to {_shown(high)}")
            return default
        return found

    def choice(self, kinds: Mapping[str, Kind]) -> Kind | None:
        """One of a few words."""
        if isinstance(self.value, str) and self.value in kinds:
            return kinds[self.value]
        self.wrong(f"is {brief(self.value)}", f"use {' or '.join(kinds)}")
        return None

    def _unlike(self, wanted: str) -> None:
        kind = _KINDS.get(type(self.value), "something else")
        self.wrong(f"is {kind}", f"use {wanted}")


UNKNOWN: Final = "is not known here"
"""What is wrong with a member that an object does not have."""
NAME_FIX: Final = "use 1 to 64 letters, digits, _ and -"


def fix_of_unknown(name: str, known: Sequence[str]) -> str:
    """The known name that was meant, or else all of them."""
    close = get_close_matches(name[:64], known, 1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"


def is_name(text: str) -> bool:
    """Whether it can name a definition, a state, an action, a tool."""
    return _NAME.fullmatch(text) is not None


def _span(value: object) -> timedelta | None:
    """Seconds as a number; with a unit; or ISO 8601 in days and smaller."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return timedelta(seconds=value) if 0 <= value <= 1e9 else None
    if not isinstance(value, str):
        return None
    if amount := _AMOUNT.fullmatch(value.strip()):
        return _seconds(float(amount[1]) * _SECONDS[amount[2]])
    if (iso := _ISO.fullmatch(value.strip())) and any(iso.groups()):
        return _seconds(sum(float(n) * _SECONDS[unit] for unit, n in iso.groupdict("0").items()))
    return None


def _seconds(count: float) -> timedelta | None:
    return timedelta(seconds=count) if count <= 1e10 else None


def _shown(span: timedelta) -> str:
    for unit, seconds in reversed(_SECONDS.items()):
        if span.total_seconds() >= seconds:
            return f"{span.total_seconds() / seconds:g}{unit}"
    return "0s"


def brief(value: object) -> str:
    """A value in a few words: a text's beginning, else what it is."""
    return repr(value[:64]) if isinstance(value, str) else _KINDS.get(type(value), "unknown")
