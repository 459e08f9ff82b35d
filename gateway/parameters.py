"""Path and query parameters as the JSON they stand for: text in, checked values out."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final
from urllib.parse import unquote_to_bytes

from gateway.shapes import FREE, JSON, RANGES, Field, Kind, Shape
from services.chassis.errors import InvalidArgument, Violation, invalid

MAX_PARAMETERS: Final = 200
_BOOLS: Final = {"true": True, "false": False}
_TEXTS: Final = frozenset({Kind.STRING, Kind.BYTES, Kind.TIME, Kind.DURATION})


class Parameters:
    """The parameters of one route. `taken` are fields that path or body set already."""

    def __init__(self, shape: Shape, *, taken: frozenset[str], has_query: bool) -> None:
        self._shape = shape
        self._taken = taken
        self._has_query = has_query

    def document(self, captures: Mapping[str, str], query: bytes) -> dict[str, JSON]:
        """The part of the request that path and query say, as JSON.

        Raises:
            InvalidArgument: `INVALID_REQUEST`, naming the parameter.
        """
        document: dict[str, JSON] = {}
        for name, text in captures.items():
            path, field = self.resolve(name)
            _put(document, path, value_of(field, name, text), is_repeated=False)
        for name, text in pairs(query) if query else ():
            self._add(document, name, text)
        return document

    def resolve(self, name: str) -> tuple[str, Field]:
        """The proto path and the field that a dotted name means. Raises as `document`."""
        shape: Shape | None = self._shape
        found: list[Field] = []
        for part in name.split("."):
            field = shape.fields.get(part) if shape is not None else None
            if field is None or field.is_map:
                raise self._unknown(name)
            found.append(field)
            shape = field.message if not field.is_repeated else None
        if found[-1].kind is Kind.MESSAGE or found[-1].kind in FREE:
            raise self._unknown(name)
        return ".".join(each.name for each in found), found[-1]

    def _add(self, document: dict[str, JSON], name: str, text: str) -> None:
        if not self._has_query:
            raise self._unknown(name)
        path, field = self.resolve(name)
        if path in self._taken or path.partition(".")[0] in self._taken:
            raise self._unknown(name)
        _put(document, path, value_of(field, name, text), is_repeated=field.is_repeated)

    def _unknown(self, name: str) -> InvalidArgument:
        known = [each for each in self._shape.names() if each not in self._taken]
        if not self._has_query or not known:
            fix = "leave it out; this route takes no query parameters"
        elif close := get_close_matches(name, known, n=1):
            fix = f"did you mean {close[0]}?"
        else:
            fix = f"use one of: {', '.join(known)}"
        return invalid(Violation(name[:200] or '""', "is not a query parameter of this route", fix))


def pairs(query: bytes) -> list[tuple[str, str]]:
    """The names and values of a query string, in its order. Raises `InvalidArgument`."""
    parts = [part for part in query.split(b"&") if part]
    if len(parts) > MAX_PARAMETERS:
        fix = f"send at most {MAX_PARAMETERS}"
        raise invalid(Violation("query string", f"has {len(parts)} parameters", fix))
    return [_pair(part) for part in parts]


def _pair(part: bytes) -> tuple[str, str]:
    name, _, value = part.partition(b"=")
    try:
        return _text(name), _text(value)
    except UnicodeDecodeError:
        field = name.decode("ascii", "replace")[:200] or '""'
        fix = "percent-encode the bytes of UTF-8 text"
        raise invalid(Violation(field, "is not UTF-8 text", fix)) from None


def _text(raw: bytes) -> str:
    if b"%" in raw or b"+" in raw:
        raw = unquote_to_bytes(raw.replace(b"+", b" "))
    return raw.decode()


def value_of(field: Field, name: str, text: str) -> JSON:
    """The JSON that a parameter's text means for a field.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; the text is not of the field's type.
    """
    kind = field.kind
    if kind in _TEXTS:
        return text
    value: JSON = None
    if kind is Kind.BOOL:
        value = _BOOLS.get(text)
    elif kind is Kind.ENUM:
        value = text if text in field.names else _whole(text, RANGES[Kind.INT32])
    elif kind in RANGES:
        value = _whole(text, RANGES[kind])
    elif kind is Kind.NUMBER:
        value = _number(text)
    if value is None:
        expected = f"one of {', '.join(field.names)}" if field.names else kind.value
        raise invalid(Violation(name[:200], f"expects {expected}", f"send {expected}"))
    return value


def _whole(text: str, bounds: tuple[int, int]) -> int | None:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 20):
        return None
    number = int(text)
    return number if bounds[0] <= number <= bounds[1] else None


def _number(text: str) -> float | None:
    if not text.isascii() or len(text) > 40 or text.strip() != text or "_" in text:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if number - number == 0 else None  # Neither infinite nor NaN.


def _put(document: dict[str, JSON], path: str, value: JSON, *, is_repeated: bool) -> None:
    *parents, name = path.split(".")
    inner = document
    for parent in parents:
        member = inner.setdefault(parent, {})
        if not isinstance(member, dict):
            raise invalid(Violation(path, "is given twice", "give it once"))
        inner = member
    if is_repeated:
        items = inner.setdefault(name, [])
        if isinstance(items, list):
            items.append(value)
    elif name in inner:
        raise invalid(Violation(path, "is given twice", "give it once"))
    else:
        inner[name] = value
