"""The smallest values that match a JSON Schema, as far as one can tell without searching. Pure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from services.chassis.errors import InvalidArgument
from services.chassis.schema import Schema as Checker
from services.inference.domain.request import JSON

Schema: TypeAlias = Mapping[str, JSON]

MAX_DEPTH: Final = 64
MAX_ITEMS: Final = 10_000
MAX_PARTS: Final = 12_000
"""How many parts of a schema one search looks at: options within options multiply."""

_FORMATS: Final = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "a@example.com",
    "idn-email": "a@example.com",
    "hostname": "example.com",
    "idn-hostname": "example.com",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "uri": "https://example.com",
    "iri": "https://example.com",
    "uri-reference": "/",
    "iri-reference": "/",
    "uri-template": "/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "json-pointer": "/a",
    "relative-json-pointer": "0",
    "regex": "a",
}
_GUESSES: Final = ("", "a", "A", "0", "1", "aa", "AA", "a1", "A1", "#", "_", "1.0.0", "a_b", "a b")


class NothingMatchesError(ValueError):
    """No value is known that matches the schema."""


def minimal(schema: JSON, root: Schema) -> JSON:
    """A value that matches `schema`, whose `$ref`s point into `root`.

    Raises:
        NothingMatchesError: none is known.
    """
    try:
        return _Search(root).value(schema, 0)
    except (OverflowError, ZeroDivisionError):
        raise NothingMatchesError("a number of the schema is beyond counting") from None


class _Search:
    def __init__(self, root: Schema) -> None:
        self._root = root
        self._left = MAX_PARTS

    def value(self, schema: JSON, depth: int) -> JSON:
        self._left -= 1
        if depth > MAX_DEPTH or self._left < 0:
            raise NothingMatchesError("the schema is recursive without an end, or asks for much")
        if schema is True:
            return {}
        if not isinstance(schema, Mapping):
            raise NothingMatchesError("a schema that nothing matches has to be matched")
        if "const" in schema:
            return schema["const"]
        if isinstance(values := schema.get("enum"), list):
            return _first(values)
        return self._composed(merge(schema, self._root), schema, depth)

    def _composed(self, merged: Schema, schema: Schema, depth: int) -> JSON:
        for keyword in ("anyOf", "oneOf"):
            if isinstance(options := merged.get(keyword), list):
                rest = {key: value for key, value in merged.items() if key != keyword}
                return self._one_of(options, rest, depth)
        if merged is not schema:
            return self.value(merged, depth + 1)
        return self._of_type(_type(schema), schema, depth)

    def _one_of(self, options: Sequence[JSON], rest: Schema, depth: int) -> JSON:
        for option in options:
            try:
                return self.value(_both(rest, option), depth + 1)
            except NothingMatchesError:
                if self._left < 0:
                    raise
        raise NothingMatchesError("no option can be matched")

    def _of_type(self, name: str, schema: Schema, depth: int) -> JSON:
        match name:
            case "object":
                return self._object(schema, depth)
            case "array":
                return list(self._items(schema, depth))
            case "string":
                return _string(schema)
            case "integer" | "number":
                return _number(schema, is_integer=name == "integer")
            case "boolean":
                return False
            case "null":
                return None
        raise NothingMatchesError(f"{name[:32]!r} is not a type")

    def _object(self, schema: Schema, depth: int) -> JSON:
        properties, required = schema.get("properties"), schema.get("required")
        known = properties if isinstance(properties, Mapping) else {}
        names = [str(name) for name in required] if isinstance(required, list) else []
        other = schema.get("additionalProperties", True)
        return {name: self.value(known.get(name, other), depth + 1) for name in names}

    def _items(self, schema: Schema, depth: int) -> Iterator[JSON]:
        prefix = schema.get("prefixItems")
        first = prefix if isinstance(prefix, list) else []
        least = int(_bound(schema, "minItems", 0))
        if least > MAX_ITEMS:
            raise NothingMatchesError(f"minItems {least} is too many")
        for index in range(least):
            item = first[index] if index < len(first) else schema.get("items", True)
            yield self.value(item, depth + 1)


def merge(schema: Schema, root: Schema) -> Schema:
    """The schema with its `$ref` and `allOf` worked in, one level deep."""
    result = schema
    if isinstance(reference := schema.get("$ref"), str):
        result = _both({k: v for k, v in schema.items() if k != "$ref"}, resolve(reference, root))
    if isinstance(parts := result.get("allOf"), list):
        result = {key: value for key, value in result.items() if key != "allOf"}
        for part in parts:
            result = _both(result, part)
    return result


def resolve(reference: str, root: Schema) -> JSON:
    """What a local `$ref` points to.

    Raises:
        NothingMatchesError: nothing.
    """
    target: JSON = root
    for part in reference.removeprefix("#").split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(target, list) and name.isdecimal() and int(name) < len(target):
            target = target[int(name)]
        elif isinstance(target, Mapping) and name in target:
            target = target[name]
        else:
            raise NothingMatchesError(f"$ref {reference[:64]} points to nothing")
    return target


def _both(one: Schema, other: JSON) -> Schema:
    if other is True:
        return one
    if not isinstance(other, Mapping):
        raise NothingMatchesError("a schema that nothing matches has to be matched")
    result = {**other, **one}
    for keyword in ("properties", "required"):
        mine, theirs = one.get(keyword), other.get(keyword)
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            result[keyword] = {**mine, **theirs}
        elif isinstance(mine, list) and isinstance(theirs, list):
            result[keyword] = [*mine, *(name for name in theirs if name not in mine)]
    return result


def _first(values: Sequence[JSON]) -> JSON:
    if not values:
        raise NothingMatchesError("an enum is empty")
    return values[0]


def _type(schema: Schema) -> str:
    named = schema.get("type")
    if isinstance(named, list):
        named = _first(named)
    if isinstance(named, str):
        return named
    implied = {
        "object": ("properties", "required", "minProperties"),
        "array": ("items", "prefixItems", "minItems"),
        "string": ("minLength", "maxLength", "pattern", "format"),
        "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    }
    for name, keywords in implied.items():
        if any(keyword in schema for keyword in keywords):
            return name
    return "object"


def _string(schema: Schema) -> str:
    least, most = _bound(schema, "minLength", 0), _bound(schema, "maxLength", math.inf)
    if least > MAX_ITEMS or least > most:
        raise NothingMatchesError(f"no string has {least:g} to {most:g} characters")
    pattern, form = schema.get("pattern"), schema.get("format")
    guesses = (_FORMATS[form],) if isinstance(form, str) and form in _FORMATS else _GUESSES
    for guess in guesses:
        padded = guess.ljust(int(least), guess[-1:] or "a")
        if len(padded) <= most and (not isinstance(pattern, str) or _matches(pattern, padded)):
            return padded
    raise NothingMatchesError("no string is known for a pattern or format")


def _matches(pattern: str, text: str) -> bool:
    """In linear time, whatever the pattern."""
    try:
        return Checker({"pattern": pattern}, field="pattern").is_valid(text)
    except InvalidArgument:
        return False


def _number(schema: Schema, *, is_integer: bool) -> float | int:
    above, below = (
        _bound(schema, "exclusiveMinimum", -math.inf),
        _bound(schema, "exclusiveMaximum", math.inf),
    )
    least, most = _bound(schema, "minimum", -math.inf), _bound(schema, "maximum", math.inf)
    step = _bound(schema, "multipleOf", 1 if is_integer else 0)
    for guess in _numbers(max(least, above), min(most, below), step):
        if least <= guess <= most and above < guess < below:
            return int(guess) if guess == int(guess) else guess
    raise NothingMatchesError("no number is known between the bounds")


def _numbers(low: float, high: float, step: float) -> Iterator[float]:
    """Zero, then the numbers near the bounds, on the grid of `step` if there is one."""
    yield 0.0
    for bound in (low, high):
        if math.isfinite(bound):
            grid = step or 1.0
            nearest = math.floor(bound / grid) * grid
            yield from (nearest, nearest + grid, nearest - grid)
    if not step and math.isfinite(low) and math.isfinite(high):
        yield from (low, (low + high) / 2)


def _bound(schema: Schema, keyword: str, default: float) -> float:
    value = schema.get(keyword)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else default
