"""Minimal instances match their schemas."""

import pytest

from services.chassis.schema import Schema
from services.inference.domain.request import JSON
from services.inference.engines.echo.instance import NothingMatchesError, minimal

NODE: JSON = {
    "type": "object",
    "properties": {"next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}},
    "required": ["next"],
}
SCHEMAS: list[dict[str, JSON]] = [
    {},
    {"const": [1, {"a": None}]},
    {"enum": ["x", 1]},
    {"type": "string", "minLength": 3, "maxLength": 5},
    {"type": "string", "format": "date-time"},
    {"type": "string", "format": "uuid"},
    {"type": "string", "format": "email"},
    {"type": "string", "pattern": "^[a-z]+$", "minLength": 4},
    {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
    {"type": "integer", "minimum": 3, "maximum": 9},
    {"type": "integer", "exclusiveMinimum": 3},
    {"type": "integer", "maximum": -7},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5},
    {"type": "integer", "minimum": 20, "multipleOf": 7},
    {"type": "array", "minItems": 2, "items": {"type": "integer", "minimum": 5}},
    {"type": "array", "prefixItems": [{"const": 1}, {"const": "a"}], "minItems": 2},
    {"type": ["null", "string"]},
    {"type": "boolean"},
    {"properties": {"a": {"const": 1}, "b": {"const": 2}}, "required": ["b"]},
    {"required": ["a"], "additionalProperties": {"type": "integer"}},
    {"oneOf": [False, {"type": "integer"}]},
    {"type": "object", "anyOf": [{"required": ["q"]}], "properties": {"q": {"type": "string"}}},
    {"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 4}]},
    {"allOf": [{"$ref": "#/$defs/a~1b"}], "$defs": {"a/b": {"type": "string", "minLength": 1}}},
    {"$ref": "#/$defs/node", "$defs": {"node": NODE}},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_a_minimal_instance_matches_its_schema(schema: dict[str, JSON]) -> None:
    assert Schema(schema, field="s").violations(minimal(schema, schema)) == []


def test_properties_stand_in_the_order_of_required() -> None:
    schema: JSON = {"required": ["b", "a"], "properties": {"a": {"const": 1}, "b": {"const": 2}}}

    assert list(minimal(schema, {})) == ["b", "a"]


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"type": "strin"},
        {"type": "integer", "minimum": 5, "maximum": 4},
        {"type": "string", "minLength": 5, "maxLength": 4},
        {"type": "array", "minItems": 10**9},
        {"$ref": "#/$defs/gone"},
        {"$ref": "#"},
        {"anyOf": [False]},
        {"enum": []},
    ],
    ids=str,
)
def test_where_nothing_is_known_to_match_that_is_said(schema: JSON) -> None:
    with pytest.raises(NothingMatchesError):
        minimal(schema, schema if isinstance(schema, dict) else {})
