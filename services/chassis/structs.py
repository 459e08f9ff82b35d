"""google.protobuf.Struct and Value to and from plain Python, quickly and within bounds.

JSON without surprises: no NaN, no infinity, no integer that a double cannot hold exactly.
"""

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from typing import Final

from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from services.chassis.errors import InvalidArgument, Violation, invalid

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MAX_DEPTH: Final = 30  # protobuf reads 100 messages deep, of which an object takes three.
MAX_NODES: Final = 100_000
MAX_INTEGER: Final = 2**53

_NESTED: Final = f"is nested more than {MAX_DEPTH} levels deep"
_CROWDED: Final = f"has more than {MAX_NODES:,} values"
_FIXES: Final = {
    _NESTED: "send a flatter value",
    _CROWDED: "send less",
    "is an integer beyond 2^53": "send it as a string",
    "is not a finite number": "send a finite number or null",
    "has no value": "send null or leave it out",
    "is not text in UTF-8": "send valid UTF-8",
    "is not a JSON value": "use null, booleans, numbers, strings, lists and objects",
    "has a name that is not a string": "name members with strings",
}
_SHOWN_CHARACTERS: Final = 64
_PATH_CHARACTERS: Final = 200  # It goes into trailing metadata, which is bounded.
_INFINITIES: Final = (float("inf"), float("-inf"))


def to_dict(struct: Struct, *, field: str = "") -> dict[str, object]:
    """The object as a dictionary. `field` says where it stands in the request, for errors.

    Doubles without a fraction become integers.

    Raises:
        InvalidArgument: `INVALID_REQUEST`, with the field: too deep, too many values, not finite,
            or an integer beyond 2^53.
    """
    try:
        return _Reader().members(struct, 1)
    except _Fault as fault:
        raise fault.error(field) from None


def to_value(value: Value, *, field: str = "") -> object:
    """The value as JSON's Python types; otherwise as `to_dict`."""
    try:
        return _Reader().value(value, 0)
    except _Fault as fault:
        raise fault.error(field) from None


def set_time(into: Timestamp, time: datetime) -> None:
    """Fill a timestamp from an aware datetime; a tenth of what `FromDatetime` costs."""
    since = time - _EPOCH
    into.seconds = since.days * 86_400 + since.seconds
    into.nanos = since.microseconds * 1000


def from_dict(members: Mapping[str, object], into: Struct, *, field: str = "") -> Struct:
    """Fill an empty `into`, and return it.

    Raises:
        InvalidArgument: as `to_dict`; also for what is not JSON or not UTF-8.
    """
    try:
        _Writer().members(members, into, 1)
    except _Fault as fault:
        raise fault.error(field) from None
    return into


def from_value(value: object, into: Value, *, field: str = "") -> Value:
    """Fill an empty `into`, and return it; otherwise as `from_dict`."""
    try:
        _Writer().value(value, into, 0)
    except _Fault as fault:
        raise fault.error(field) from None
    return into


class _Fault(Exception):
    """What is wrong; each level on the way out adds its part of the path."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path: list[str | int] = []

    def error(self, field: str) -> InvalidArgument:
        where = field
        for part in reversed(self.path):
            if isinstance(part, int):
                where += f"[{part}]"
            else:
                shown = part[:_SHOWN_CHARACTERS].encode(errors="replace").decode()
                where += f".{shown}" if where else shown
        if len(where) > _PATH_CHARACTERS:
            where = f"{where[:_PATH_CHARACTERS]}…"
        return invalid(Violation(where or "value", self.problem, _FIXES[self.problem]))


class _Bounded:
    def __init__(self) -> None:
        self._left = MAX_NODES

    def _enter(self, depth: int, size: int) -> None:
        if depth > MAX_DEPTH:
            raise _Fault(_NESTED)
        self._left -= size
        if self._left < 0:
            raise _Fault(_CROWDED)


class _Reader(_Bounded):
    """Recursive: the depth is bounded well below Python's own limit."""

    def members(self, struct: Struct, depth: int) -> dict[str, object]:
        fields = struct.fields
        self._enter(depth, len(fields))
        result: dict[str, object] = {}
        name = ""
        try:
            for name, value in fields.items():
                result[name] = self.value(value, depth)
        except _Fault as fault:
            if fault.problem is not _CROWDED:
                fault.path.append(name)
            raise
        return result

    def items(self, values: ListValue, depth: int) -> Sequence[object]:
        items = values.values
        self._enter(depth, len(items))
        result: list[object] = []
        try:
            for value in items:
                result.append(self.value(value, depth))  # noqa: PERF401 - counts up to the fault
        except _Fault as fault:
            if fault.problem is not _CROWDED:
                fault.path.append(len(result))
            raise
        return result

    def value(self, value: Value, depth: int) -> object:
        kind = value.WhichOneof("kind")
        if kind == "string_value":
            return value.string_value
        if kind == "number_value":
            return _number(value.number_value)
        if kind == "struct_value":
            return self.members(value.struct_value, depth + 1)
        if kind == "list_value":
            return self.items(value.list_value, depth + 1)
        if kind == "bool_value":
            return value.bool_value
        if kind == "null_value":
            return None
        raise _Fault("has no value")


class _Writer(_Bounded):
    """Recursive, as the reader."""

    def members(self, members: Mapping[str, object], into: Struct, depth: int) -> None:
        self._enter(depth, len(members))
        fields = into.fields
        for name, value in members.items():
            try:
                self.value(value, _member(fields, name), depth)
            except _Fault as fault:
                if fault.problem is not _CROWDED:
                    fault.path.append(str(name))
                raise

    def items(self, items: Iterable[object], into: ListValue, depth: int) -> None:
        for index, item in enumerate(items):
            try:
                self.value(item, into.values.add(), depth)
            except _Fault as fault:
                if fault.problem is not _CROWDED:
                    fault.path.append(index)
                raise

    def value(self, value: object, into: Value, depth: int) -> None:
        if isinstance(value, str):
            try:
                into.string_value = value
            except UnicodeEncodeError:
                raise _Fault("is not text in UTF-8") from None
        elif value is None:
            into.null_value = NULL_VALUE
        elif isinstance(value, bool):
            into.bool_value = value
        elif isinstance(value, int | float):
            into.number_value = _number(value)
        elif isinstance(value, Mapping):
            into.struct_value.SetInParent()  # Or an empty object would be no value at all.
            self.members(value, into.struct_value, depth + 1)
        elif isinstance(value, list | tuple):
            into.list_value.SetInParent()
            self._enter(depth + 1, len(value))
            self.items(value, into.list_value, depth + 1)
        else:
            raise _Fault("is not a JSON value")


def _number(number: float) -> int | float:
    """Doubles without a fraction as integers; integers as they are."""
    if number != number or number in _INFINITIES:  # noqa: PLR0124 - only NaN is not itself
        raise _Fault("is not a finite number")
    if isinstance(number, float) and not number.is_integer():
        return number
    if not -MAX_INTEGER <= number <= MAX_INTEGER:
        raise _Fault("is an integer beyond 2^53")
    return int(number)


def _member(fields: MutableMapping[str, Value], name: object) -> Value:
    if not isinstance(name, str):
        raise _Fault("has a name that is not a string")
    try:
        return fields[name]
    except UnicodeEncodeError:
        raise _Fault("is not text in UTF-8") from None
