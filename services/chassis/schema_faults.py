"""What a value violates, in words for a developer: where, what is wrong, and what to send instead.

Values are never repeated beyond 64 characters, and patterns and options are cut as well.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Final, TypeAlias

from jsonschema_rs import ValidationError, ValidationErrorKind

from services.chassis.errors import Violation

_SHOWN: Final = 64
_PATH: Final = 200
_NAMES: Final = 12
_HELD: Final = 50
"""Names that misspelt ones are held against in one answer: each takes some 0.1 ms."""

_Words: TypeAlias = tuple[str, str]  # What is wrong, and the fix.

_ARTICLED: Final = {
    "string": "a string",
    "number": "a number",
    "integer": "an integer",
    "boolean": "a boolean",
    "object": "an object",
    "array": "a list",
    "null": "null",
}
_EXAMPLES: Final = {
    "string": '"text"',
    "number": "3",
    "integer": "3",
    "boolean": "true",
    "object": "{}",
    "array": "[]",
    "null": "null",
}
_FORMATS: Final = {
    "date-time": "2026-04-20T05:00:00Z",
    "date": "2026-04-20",
    "time": "05:00:00Z",
    "duration": "PT5M",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
}


class Hints:
    """Knows what was perhaps meant, for as many names as there is time for in an answer."""

    def __init__(self) -> None:
        self._left = _HELD

    def close(self, name: str, names: Iterable[str]) -> str:
        """One of the first names that is like this one; empty if none is."""
        if len(name) > _SHOWN:
            return ""
        held = list(islice((each for each in names if len(each) <= _SHOWN), self._left))
        self._left -= len(held)
        return next(iter(get_close_matches(name, held, 1)), "")


def explained(
    error: ValidationError, document: object, field: str, hints: Hints | None = None
) -> list[Violation]:
    """The error as violations, more than one where it names several properties."""
    kind, hints = error.kind, hints or Hints()
    pointer = "".join(f"/{_escaped(part)}" for part in error.schema_path)
    where = _path(field, error.instance_path)
    schema = _at(document, error.schema_path[:-1])
    if isinstance(kind, ValidationErrorKind.Required):
        missing = _path(where, [kind.property])
        return [Violation(missing, "is missing", _addition(kind.property, schema), pointer)]
    if isinstance(
        kind, ValidationErrorKind.AdditionalProperties | ValidationErrorKind.UnevaluatedProperties
    ):
        return [
            Violation(_path(where, [name]), "is not known", fix, pointer)
            for name in kind.unexpected[:_NAMES]
            if (fix := _removal(name, schema, error, hints))
        ]
    if isinstance(kind, ValidationErrorKind.Enum):
        message, fix = _options(list(kind.options), error.instance, hints)
    else:
        message, fix = _WORDS.get(type(kind), _otherwise)(kind, error)
    return [Violation(where, message, fix, pointer)]


def shown(value: object) -> str:
    """The value as JSON, cut short."""
    if isinstance(value, str):
        value = value[: _SHOWN + 1]
    elif isinstance(value, Mapping):
        return f"an object of {len(value)}"
    elif isinstance(value, list):
        return f"a list of {len(value)}"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _path(start: str, parts: Iterable[str | int]) -> str:
    where = start
    for part in parts:
        if isinstance(part, int):
            where += f"[{part}]"
        else:
            where += f".{part[:_SHOWN]}" if where else part[:_SHOWN]
    return where if len(where) <= _PATH else f"{where[: _PATH - 1]}…"


def _escaped(part: str | int) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")[:_SHOWN]


def _at(document: object, path: Iterable[str | int]) -> Mapping[str, object]:
    """The part of the document at `path`; empty when there is none."""
    for part in path:
        if isinstance(document, Mapping):
            document = document.get(part)
        elif isinstance(document, list | tuple) and isinstance(part, int):
            document = document[part] if part < len(document) else None
    return document if isinstance(document, Mapping) else {}


def _addition(name: str, schema: Mapping[str, object]) -> str:
    declared = _at(schema, ["properties", name]).get("type")
    names = [declared] if isinstance(declared, str) else declared
    suffix = f" ({' or '.join(map(str, names))})" if isinstance(names, list) else ""
    return f"add `{name[:_SHOWN]}`{suffix}"


def _removal(name: str, schema: Mapping[str, object], error: ValidationError, hints: Hints) -> str:
    allowed = [str(each) for each in _at(schema, ["properties"])]
    present = error.instance if isinstance(error.instance, Mapping) else {}
    if close := hints.close(name, (each for each in allowed if each not in present)):
        return f"rename `{name[:_SHOWN]}` to `{close}`"
    listed = ", ".join(allowed[:_NAMES]) + (", …" if len(allowed) > _NAMES else "")
    return f"remove `{name[:_SHOWN]}`; allowed: {listed or 'none'}"


def _type_of(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return f"the string {shown(value)}"
    if isinstance(value, int | float):
        return f"the number {shown(value)}"
    return "an object" if isinstance(value, Mapping) else "a list"


def _type(kind: ValidationErrorKind.Type, error: ValidationError) -> _Words:
    wanted = " or ".join(_ARTICLED.get(each, each) for each in kind.types)
    example = _example(kind.types[0], error.instance)
    return f"is {_type_of(error.instance)}; must be {wanted}", f"send {wanted}, such as {example}"


def _example(name: str, value: object) -> str:
    """The value itself where it only has the wrong quotes."""
    if isinstance(value, str) and name in {"number", "integer"}:
        plain = value.strip()[:_SHOWN].removeprefix("-")
        if plain.isascii() and plain.isdigit():
            return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool) and name == "string":
        return f'"{shown(value)}"'
    return _EXAMPLES.get(name, "another")


def _options(options: list[object], value: object, hints: Hints) -> _Words:
    listed = ", ".join(shown(each) for each in options[:_NAMES])
    more = ", …" if len(options) > _NAMES else ""
    words = [each for each in options if isinstance(each, str)]
    near = {each.lower(): each for each in words}
    close = hints.close(value.lower(), near) if isinstance(value, str) else ""
    fix = f"use {shown(near[close])}" if close else f"use one of {listed}{more}"
    return f"is {shown(value)}; must be one of {listed}{more}", fix


def _constant(kind: ValidationErrorKind.Constant, error: ValidationError) -> _Words:
    wanted = shown(kind.expected_value)
    return f"is {shown(error.instance)}; must be {wanted}", f"send {wanted}"


def _format(kind: ValidationErrorKind.Format, error: ValidationError) -> _Words:
    example = _FORMATS.get(kind.format)
    such = f", such as {example}" if example else ""
    name = kind.format[:_SHOWN]
    return f"is {shown(error.instance)}; must be in the format {name}", f"send a {name}{such}"


def _pattern(kind: ValidationErrorKind.Pattern, error: ValidationError) -> _Words:
    pattern = kind.pattern[:_SHOWN]
    return f"is {shown(error.instance)}; must match {pattern}", f"send text that matches {pattern}"


def _limit(words: str) -> Callable[..., _Words]:
    def explain(kind: ValidationErrorKind.Minimum, error: ValidationError) -> _Words:
        return f"is {shown(error.instance)}; must be {words} {kind.limit}", (
            f"send a number {words} {kind.limit}"
        )

    return explain


def _count(words: str, unit: str) -> Callable[..., _Words]:
    def explain(kind: ValidationErrorKind.MaxLength, error: ValidationError) -> _Words:
        value = error.instance
        size = len(value) if isinstance(value, str | list | Mapping) else 0
        wanted = f"{words} {kind.limit} {unit}"
        return f"has {size} {unit}; must have {wanted}", f"send {wanted}"

    return explain


def _multiple(kind: ValidationErrorKind.MultipleOf, error: ValidationError) -> _Words:
    wanted = f"a multiple of {kind.multiple_of}"
    return f"is {shown(error.instance)}; must be {wanted}", f"send {wanted}"


def _alternatives(kind: ValidationErrorKind.AnyOf, error: ValidationError) -> _Words:
    """Types where only the types differ; otherwise the nearest alternative's first fault."""
    firsts = [branch[0] for branch in kind.context if branch]
    here = [each for each in firsts if len(each.instance_path) == len(error.instance_path)]
    types = [each.kind for each in here if isinstance(each.kind, ValidationErrorKind.Type)]
    if types and len(types) == len(firsts):
        names = list(dict.fromkeys(name for each in types for name in each.types))
        wanted = " or ".join(_ARTICLED.get(name, name) for name in names)
        return f"is {_type_of(error.instance)}; must be {wanted}", f"send {wanted}"
    message = f"matches none of {len(kind.context)} alternatives"
    if not firsts:
        return message, "compare it with the alternatives of the schema"
    nearest = min(kind.context, key=lambda branch: (_is_type_fault(branch), len(branch)))[0]
    inner = explained(nearest, {}, "")[0]
    at = f"{inner.field}: " if inner.field else ""
    return f"{message}; the nearest: {at}{inner.message}", f"{at}{inner.suggested_fix}"


def _is_type_fault(branch: list[ValidationError]) -> bool:
    return isinstance(branch[0].kind, ValidationErrorKind.Type)


def _names(kind: ValidationErrorKind.PropertyNames, error: ValidationError) -> _Words:
    inner = explained(kind.error, {}, "")[0]
    return f"has a property whose name {inner.message}", f"rename it: {inner.suggested_fix}"


def _fixed(message: str, fix: str) -> Callable[..., _Words]:
    return lambda kind, error: (message, fix)


def _forbidden(kind: ValidationErrorKind.FalseSchema, error: ValidationError) -> _Words:
    """The engine names the object, not the member, where no member at all is allowed."""
    if error.schema_path[-1:] == ["additionalProperties"]:
        return "has members where none are allowed", "send an empty object"
    return "is not allowed", "leave it out"


def _otherwise(kind: ValidationErrorKind, error: ValidationError) -> _Words:
    keyword = str(error.schema_path[-1]) if error.schema_path else kind.name
    return f"violates {keyword[:_SHOWN]}", f"see {keyword[:_SHOWN]} in the schema"


_Kind = ValidationErrorKind
_WORDS: Final[dict[type[ValidationErrorKind], Callable[..., _Words]]] = {
    _Kind.Type: _type,
    _Kind.Constant: _constant,
    _Kind.Format: _format,
    _Kind.Pattern: _pattern,
    _Kind.Minimum: _limit("at least"),
    _Kind.Maximum: _limit("at most"),
    _Kind.ExclusiveMinimum: _limit("above"),
    _Kind.ExclusiveMaximum: _limit("below"),
    _Kind.MultipleOf: _multiple,
    _Kind.MinLength: _count("at least", "characters"),
    _Kind.MaxLength: _count("at most", "characters"),
    _Kind.MinItems: _count("at least", "items"),
    _Kind.MaxItems: _count("at most", "items"),
    _Kind.MinProperties: _count("at least", "properties"),
    _Kind.MaxProperties: _count("at most", "properties"),
    _Kind.UniqueItems: _fixed("has an item twice", "send each item once"),
    _Kind.FalseSchema: _forbidden,
    _Kind.AnyOf: _alternatives,
    _Kind.OneOfNotValid: _alternatives,
    _Kind.OneOfMultipleValid: _fixed(
        "matches more than one alternative where one is asked for", "make it match only one"
    ),
    _Kind.Not: _fixed("is of a shape that is excluded", "send another shape"),
    _Kind.Contains: _fixed("lacks an item that is asked for", "add the item"),
    _Kind.PropertyNames: _names,
}
