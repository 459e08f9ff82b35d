"""What goes into CEL and what comes out of it, as JSON."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

MAX_VALUES: Final = 10_000
MAX_CHARACTERS: Final = 256 * 1024
MAX_DEPTH: Final = 64
MAX_WHOLE: Final = 2**53

_HIGHEST: Final = float("inf")


class NoResult(ValueError):
    """There is no value that JSON has; says why, after "the expression"."""


class Extent(NamedTuple):
    """How large the values are that an expression sees: the largest of each kind."""

    items: int = 0
    """Of a list or an object."""
    characters: int = 0
    """Of a text."""
    values: int = 0
    """All of them together."""
    fault: str = ""
    """Why CEL would not see a text as it is; empty where it would."""


def extent(variables: Mapping[str, object]) -> Extent:
    """The extent of all variables together."""
    items = characters = values = 0
    pending: list[object] = list(variables.values())
    while pending:
        part = pending.pop()
        values += 1
        if isinstance(part, str):
            characters = max(characters, len(part))
            if fault := _fault(part):
                return Extent(fault=fault)
        elif isinstance(part, dict):
            items = max(items, len(part))
            pending.extend(part)
            pending.extend(part.values())
        elif isinstance(part, list):
            items = max(items, len(part))
            pending.extend(part)
    return Extent(items, characters, values)


def _fault(text: str) -> str:
    """CEL's library ends texts at NUL, so that `admin\\0` would equal `admin`."""
    if "\0" in text:
        return "has a NUL character"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "is not valid Unicode"
    return ""


def json_value(found: Any) -> object:
    """The value that an evaluation has.

    Raises:
        NoResult: it is an error, or is not JSON, or is large.
    """
    return _Converted().value(found, 0)


class _Converted:
    """Counts while it converts: an object may refer to one list a thousand times."""

    def __init__(self) -> None:
        self._values = self._characters = 0

    def value(self, found: Any, depth: int) -> object:
        name = found.type().name()
        self._values += 1
        if name == "ERROR":
            raise NoResult(f"fails: {_said(found)}")
        if self._values > MAX_VALUES or depth > MAX_DEPTH:
            raise NoResult(f"gives more than {MAX_VALUES:,} values, or {MAX_DEPTH} levels")
        plain = found.value()
        if isinstance(plain, Mapping):
            return {self._key(key): self.value(plain[key], depth + 1) for key in _ordered(plain)}
        if isinstance(plain, list | tuple):
            return [self.value(each, depth + 1) for each in plain]
        return self._scalar(plain, name)

    def _key(self, key: object) -> str:
        if not isinstance(key, str):
            raise NoResult(f"gives an object with the key {key!r}, and JSON has only texts there")
        return self._text(key)

    def _text(self, text: str) -> str:
        self._characters += len(text)
        if self._characters > MAX_CHARACTERS:
            raise NoResult(f"gives more than {MAX_CHARACTERS:,} characters")
        return text

    def _scalar(self, plain: object, name: str) -> object:
        if plain is None or isinstance(plain, bool):
            return plain
        if isinstance(plain, str):
            return self._text(plain)
        if isinstance(plain, int | float):
            return _number(plain)
        if isinstance(plain, datetime):
            return plain.isoformat().replace("+00:00", "Z")
        if isinstance(plain, timedelta):
            return f"{plain.total_seconds():g}s"
        raise NoResult(f"gives a value that JSON does not have: {name.lower()[:32]}")


def _ordered(found: Mapping[Any, Any]) -> list[Any]:
    """CEL's objects have an order of their own in each process; what is sent again is the same."""
    return sorted(found, key=str)


def _number(value: float) -> float:
    if isinstance(value, int) and abs(value) > MAX_WHOLE:
        raise NoResult("gives an integer beyond 2^53, which JSON blurs")
    if value != value or abs(value) == _HIGHEST:  # noqa: PLR0124 - NaN is not itself.
        raise NoResult("gives a number that is not finite")
    return value


def _said(found: Any) -> str:
    """`NOT_FOUND: Key not found in map : "x"` without its code."""
    first, _, _ = str(found.value()).strip("'\"").partition("\n")
    code, colon, said = first.partition(": ")
    return (said if colon and code.isupper() else first)[:200]
