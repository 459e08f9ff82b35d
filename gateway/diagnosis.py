"""Why JSON does not fit a message: the first fault, with its field, its place and what to send.

Runs only after the codec refused, or where a cheap look raised a suspicion: it may take its time.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from gateway.shapes import FREE, JSON, RANGES, Field, Kind, Shape
from services.chassis.errors import Violation

SAFE_INTEGER: Final = 2**53
_NOT_FINITE: Final = frozenset({"NaN", "Infinity", "-Infinity"})
_STRINGS: Final = frozenset({Kind.STRING, Kind.BYTES, Kind.TIME, Kind.DURATION})


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a request, as people and as JSON Schema name it."""

    field: str = ""
    pointer: str = ""

    def member(self, name: str) -> "Place":
        """One field of the object here."""
        shown = name or '""'
        dotted = f"{self.field}.{shown}" if self.field else shown
        escaped = name.replace("~", "~0").replace("/", "~1")
        return Place(dotted, f"{self.pointer}/properties/{escaped}")

    def item(self, key: int | str) -> "Place":
        """One item of the list, or one value of the map, here."""
        inner = "items" if isinstance(key, int) else "additionalProperties"
        return Place(f"{self.field}[{key}]", f"{self.pointer}/{inner}")

    def fault(self, message: str, fix: str, keyword: str = "type") -> Violation:
        """Something wrong here."""
        field = self.field or "body"
        return Violation(field[:200], message, fix, f"{self.pointer}/{keyword}"[:400])


def explain(shape: Shape, document: JSON) -> Violation | None:
    """The first thing in a JSON document that the message does not take, or None if all fits."""
    return next(_message(shape, document, Place()), None)


def _message(shape: Shape, value: JSON, place: Place) -> Iterator[Violation]:
    if not isinstance(value, dict):
        yield place.fault(f"expects an object, not {_name(value)}", "send a JSON object")
        return
    for key, member in value.items():
        if (field := shape.fields.get(key)) is None:
            yield _unknown(shape, key, place)
        elif member is not None or field.kind is Kind.FREE:
            yield from _field(field, member, place.member(key))


def _unknown(shape: Shape, key: str, place: Place) -> Violation:
    close = get_close_matches(key, shape.fields, n=1)
    known = ", ".join(shape.names())
    fix = f"did you mean {shape.fields[close[0]].name}?" if close else f"use one of: {known}"
    there = place.member(key)
    return Violation(
        there.field[:200], "is not a field", fix, f"{place.pointer}/additionalProperties"
    )


def _field(field: Field, value: JSON, place: Place) -> Iterator[Violation]:
    if field.is_repeated:
        if not isinstance(value, list):
            yield place.fault(f"expects a list, not {_name(value)}", "send a JSON array")
            return
        for index, item in enumerate(value):
            yield from _single(field, item, place.item(index))
    elif field.is_map:
        if not isinstance(value, dict):
            yield place.fault(f"expects an object, not {_name(value)}", "send a JSON object")
            return
        for key, item in value.items():
            yield from _single(field, item, place.item(key))
    else:
        yield from _single(field, value, place)


def _single(field: Field, value: JSON, place: Place) -> Iterator[Violation]:
    if field.kind is Kind.MESSAGE and field.message is not None:
        yield from _message(field.message, value, place)
    elif field.kind in FREE:
        yield from _free_root(field.kind, value, place)
    elif not _fits(field, value):
        expected = f"one of {', '.join(field.names)}" if field.names else field.kind.value
        yield place.fault(f"expects {expected}, not {_name(value)}", f"send {expected}")


def _fits(field: Field, value: JSON) -> bool:
    kind = field.kind
    if kind is Kind.OTHER:
        return True
    if kind is Kind.BOOL:
        return isinstance(value, bool)
    if kind in _STRINGS:
        return isinstance(value, str)
    if kind is Kind.ENUM:
        return value in field.names or (isinstance(value, int) and not isinstance(value, bool))
    number = _as_number(value)
    if number is None or not math.isfinite(number):
        return False
    low, high = RANGES.get(kind, (-math.inf, math.inf))
    return kind is Kind.NUMBER or (number == int(number) and low <= number <= high)


def _as_number(value: JSON) -> int | float | None:
    """The number, which JSON of protobuf may also write as a string."""
    if isinstance(value, str) and value not in _NOT_FINITE:
        try:
            return float(value)
        except ValueError:
            return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _free_root(kind: Kind, value: JSON, place: Place) -> Iterator[Violation]:
    if kind is Kind.FREE_OBJECT and not isinstance(value, dict):
        yield place.fault(f"expects an object, not {_name(value)}", "send a JSON object")
    elif kind is Kind.FREE_LIST and not isinstance(value, list):
        yield place.fault(f"expects a list, not {_name(value)}", "send a JSON array")
    else:
        yield from _free(value, place)


def _free(value: JSON, place: Place) -> Iterator[Violation]:
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _free(member, place.member(key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _free(item, place.item(index))
    elif isinstance(value, float) and not math.isfinite(value):
        yield place.fault("is a number too large for a double", "send a smaller number")
    elif isinstance(value, int) and abs(value) > SAFE_INTEGER:
        yield place.fault(
            "is an integer beyond 2^53, which JSON numbers do not carry exactly",
            "send it as a string",
        )


def _name(value: JSON) -> str:
    """What was sent, in short."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return json.dumps(value, ensure_ascii=False)[:40]
