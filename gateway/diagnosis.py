"""Why JSON does not fit a message: the first fault, with its field, its place and what to send.

Runs only after the codec refused, or where a cheap look raised a suspicion: it may take its time.
"""

import json
import math
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Final

from gateway.shapes import FREE, JSON, RANGES, Field, Kind, Shape
from services.chassis.errors import Violation

SAFE_INTEGER: Final = 2**53
_SHOWN: Final = 64
_NOT_FINITE: Final = frozenset({"NaN", "Infinity", "-Infinity"})
_STRINGS: Final = frozenset({Kind.STRING, Kind.BYTES, Kind.TIME, Kind.DURATION})


class Place:
    """Where in a request; named as people and as JSON Schema do only when something is wrong."""

    __slots__ = ("above", "is_member", "key")

    def __init__(
        self, above: "Place | None" = None, key: int | str = "", *, is_member: bool = True
    ) -> None:
        self.above = above
        self.key = key
        self.is_member = is_member

    def member(self, name: str) -> "Place":
        """One field of the object here."""
        return Place(self, name)

    def item(self, key: int | str) -> "Place":
        """One item of the list, or one value of the map, here."""
        return Place(self, key, is_member=False)

    def fault(self, message: str, fix: str, keyword: str = "type") -> Violation:
        """Something wrong here."""
        pointer = f"{self._pointer()}/{keyword}"
        return Violation((self.field() or "body")[:200], message, fix, pointer[:400])

    def unknown(self, name: str, fix: str) -> Violation:
        """A field of the object here that is none."""
        pointer = f"{self._pointer()}/additionalProperties"
        return Violation(self.member(name).field()[:200], "is not a field", fix, pointer[:400])

    def _path(self) -> "list[Place]":
        """The places from the root on, without it."""
        path: list[Place] = []
        place: Place | None = self
        while place is not None and place.above is not None:
            path.append(place)
            place = place.above
        return path[::-1]

    def field(self) -> str:
        """As people name it, such as `tools[0].input`."""
        field = ""
        for place in self._path():
            shown = str(place.key)[:_SHOWN]
            if place.is_member:
                shown = shown or '""'
                field = f"{field}.{shown}" if field else shown
            else:
                field = f"{field}[{shown}]"
        return field

    def _pointer(self) -> str:
        return "".join(place.step() for place in self._path())

    def step(self) -> str:
        """The last part of the JSON Pointer to it in the schema."""
        if self.is_member:
            name = str(self.key)[:_SHOWN].replace("~", "~0").replace("/", "~1")
            return f"/properties/{name}"
        return "/items" if isinstance(self.key, int) else "/additionalProperties"


def explain(shape: Shape, document: JSON) -> Violation | None:
    """The first thing in a JSON document that the message does not take, or None if all fits."""
    return next(_message(shape, document, Place()), None)


def _message(shape: Shape, value: JSON, place: Place) -> Iterator[Violation]:
    if not isinstance(value, dict):
        yield place.fault(f"expects an object, not {_name(value)}", "send a JSON object")
        return
    spelt: dict[str, str] = {}
    for key, member in value.items():
        if (field := shape.fields.get(key)) is None:
            yield _unknown(shape, key, place)
        elif (other := spelt.setdefault(field.name, key)) != key:
            yield place.member(key).fault(
                f"is given twice, as {other} too", "give it once", "oneOf"
            )
        elif member is not None or field.kind is Kind.FREE:
            yield from _field(field, member, place.member(key))
    for names in shape.choices:
        said = {shape.fields[key].name for key in shape.fields if value.get(key) is not None}
        if len(both := [name for name in names if name in said]) > 1:
            fix = f"send {both[0]} or {both[1]}"
            yield place.member(both[1]).fault(f"stands beside {both[0]}", fix, "oneOf")


def _unknown(shape: Shape, key: str, place: Place) -> Violation:
    close = get_close_matches(key[:_SHOWN], shape.fields, n=1)
    known = ", ".join(shape.names())
    fix = f"did you mean {shape.fields[close[0]].name}?" if close else f"use one of: {known}"
    return place.unknown(key, fix)


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
    shown = value[:40] if isinstance(value, str) else value
    return json.dumps(shown, ensure_ascii=False)[:40]
