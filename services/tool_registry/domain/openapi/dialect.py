"""Keywords of schemas: which hold schemas, which are kept, and those of 3.0 in 2020-12. Pure."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

from services.tool_registry.domain.openapi.document import mapping, sequence

Translate = Callable[[object], object]
"""Translates a schema within a schema."""


class Way(StrEnum):
    """Which way a value goes; by the keyword of what goes the other way only."""

    INPUT = "readOnly"
    OUTPUT = "writeOnly"


def _as_it_is(value: object, _: Translate) -> object:
    return value


def _one(value: object, translate: Translate) -> object:
    return translate(value)


def _several(value: object, translate: Translate) -> object:
    return [translate(each) for each in sequence(value)]


def _by_name(value: object, translate: Translate) -> object:
    return {name: translate(each) for name, each in mapping(value).items()}


_KEPT: Final = (
    "const",
    "contentEncoding",
    "contentMediaType",
    "default",
    "dependentRequired",
    "deprecated",
    "description",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "required",
    "title",
    "type",
    "uniqueItems",
)
# What is not here is dropped: annotations of OpenAPI, extensions, and what no validator knows.
KEYWORDS: Final[Mapping[str, Callable[[object, Translate], object]]] = {
    **dict.fromkeys(_KEPT, _as_it_is),
    "additionalProperties": _one,
    "allOf": _several,
    "anyOf": _several,
    "contains": _one,
    "dependentSchemas": _by_name,
    "else": _one,
    "if": _one,
    "items": _one,
    "not": _one,
    "oneOf": _several,
    "patternProperties": _by_name,
    "prefixItems": _several,
    "properties": _by_name,
    "propertyNames": _one,
    "then": _one,
    "unevaluatedItems": _one,
    "unevaluatedProperties": _one,
}
COMPOSED: Final = ("allOf", "anyOf", "oneOf")
_BOUNDS: Final = (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum"))


def directed(
    result: dict[str, object], schema: Mapping[str, object], way: Way
) -> dict[str, object]:
    """Without what goes the other way only: it is not sent, and need not be there."""
    properties = mapping(schema.get("properties"))
    foreign = {name for name, each in properties.items() if mapping(each).get(way) is True}
    if foreign and way is Way.INPUT:
        kept = mapping(result["properties"])
        result["properties"] = {name: kept[name] for name in kept if name not in foreign}
    if foreign and "required" in result:
        required = sequence(result["required"])
        result["required"] = [name for name in required if name not in foreign]
    return result


def modern(result: dict[str, object], schema: Mapping[str, object]) -> dict[str, object]:
    """The dialect of 3.0 as that of 2020-12."""
    for bound, exclusive in _BOUNDS:
        if isinstance(is_exclusive := result.get(exclusive), bool):
            del result[exclusive]
            if is_exclusive and bound in result:
                result[exclusive] = result.pop(bound)
    if "example" in schema:
        result["examples"] = [schema["example"]]
    return _nullable(result) if schema.get("nullable") is True else result


def _nullable(result: dict[str, object]) -> dict[str, object]:
    if not set(COMPOSED).isdisjoint(result):
        return {"anyOf": [result, {"type": "null"}]}
    if isinstance(kind := result.get("type"), str):
        result["type"] = [kind, "null"]
        values = sequence(result.get("enum"))
        if values and None not in values:
            result["enum"] = [*values, None]
    return result
