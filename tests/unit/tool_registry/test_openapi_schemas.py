"""Schemas of OpenAPI as JSON Schema 2020-12."""

from collections.abc import Mapping

import pytest

from services.chassis.schema import Schema
from services.tool_registry.domain.openapi.dialect import Way
from services.tool_registry.domain.openapi.document import Document, Unsupported
from services.tool_registry.domain.openapi.schemas import Schemas
from tests.unit.tool_registry.documents import PET, document


def whole(
    schema: Mapping[str, object], way: Way = Way.INPUT, *, version: str = "3.0.3", **about: object
) -> dict[str, object]:
    """The schema on its own."""
    return Schemas(Document(document(version=version, **about))).whole(schema, way)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": "string", "nullable": False}, {"type": "string"}),
        ({"nullable": True}, {}),
        (
            {"type": "string", "enum": ["a"], "nullable": True},
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        (
            {"type": "string", "enum": ["a", None], "nullable": True},
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        (
            {"allOf": [{"type": "string"}], "nullable": True},
            {"anyOf": [{"allOf": [{"type": "string"}]}, {"type": "null"}]},
        ),
        ({"minimum": 1, "exclusiveMinimum": True}, {"exclusiveMinimum": 1}),
        ({"minimum": 1, "exclusiveMinimum": False}, {"minimum": 1}),
        ({"maximum": 1, "exclusiveMaximum": True}, {"exclusiveMaximum": 1}),
        ({"exclusiveMaximum": True}, {}),
        ({"type": "string", "example": "x"}, {"type": "string", "examples": ["x"]}),
        (
            {"items": {"type": "string", "nullable": True}},
            {"items": {"type": ["string", "null"]}},
        ),
        (
            {"properties": {"nullable": {"type": "string"}, "example": {"xml": {}}}},
            {"properties": {"nullable": {"type": "string"}, "example": {}}},
        ),
        (
            {"enum": [{"nullable": True}], "default": {"$ref": "#/x"}},
            {"enum": [{"nullable": True}], "default": {"$ref": "#/x"}},
        ),
        (
            {"discriminator": {}, "xml": {}, "externalDocs": {}, "x-y": 1, "$comment": "z"},
            {},
        ),
        ({"additionalProperties": False}, {"additionalProperties": False}),
        ({"not": {"nullable": True, "type": "null"}}, {"not": {"type": ["null", "null"]}}),
    ],
)
def test_the_dialect_of_3_0_is_translated(
    old: Mapping[str, object], new: Mapping[str, object]
) -> None:
    assert whole(old) == new


@pytest.mark.parametrize(
    "schema",
    [
        {"type": ["string", "null"], "examples": ["x"]},
        {"exclusiveMinimum": 1},
        {"prefixItems": [{"const": 1}], "items": False},
        {"if": {"type": "string"}, "then": {"minLength": 1}, "else": True},
        {"patternProperties": {"^x": {"type": "integer"}}, "unevaluatedProperties": False},
        {"dependentRequired": {"a": ["b"]}, "dependentSchemas": {"a": {"required": ["b"]}}},
    ],
)
def test_the_dialect_of_3_1_stays(schema: Mapping[str, object]) -> None:
    assert whole(schema, version="3.1.0") == schema


def test_what_is_referred_to_comes_along_and_nothing_else() -> None:
    found = whole(PET)

    assert found["$ref"] == "#/$defs/Pet"
    assert set(found["$defs"]) == {"Pet", "Owner"}  # type: ignore[call-overload] # A mapping.


def test_a_recursive_schema_can_be_checked_against() -> None:
    schema = Schema(whole(PET, Way.OUTPUT), field="output")

    assert schema.is_valid({"id": 1, "name": None, "parent": {"id": 2, "name": "Ma"}})
    assert not schema.is_valid({"id": 1, "name": "Rex", "parent": {"id": 2}})
    assert not schema.is_valid({"id": 1, "name": "Rex", "age": 0})
    assert schema.is_valid({"id": 1, "name": "Rex", "owner": None, "kind": None})


def test_what_is_only_read_is_not_sent() -> None:
    schema = Schema(whole({**PET}), field="input")

    assert schema.is_valid({"name": "Rex", "secret": "x"})
    definitions = whole(PET)["$defs"]
    assert "id" not in definitions["Pet"]["properties"]  # type: ignore[index] # A mapping.


def test_what_is_only_written_need_not_come_back() -> None:
    schema = {
        "type": "object",
        "required": ["key", "name"],
        "properties": {"key": {"writeOnly": True}, "name": {}},
    }

    assert whole(schema, Way.OUTPUT)["required"] == ["name"]
    assert whole(schema, Way.INPUT)["required"] == ["key", "name"]


@pytest.mark.parametrize(
    "reference",
    [
        "#/components/schemas/Pet/properties/age",
        "#/components/x-more/a~1b c",
        "#/components/x-more/a~1b%20c",
        "#/components/schemas/%50et/properties/age",
    ],
)
def test_a_reference_may_lead_anywhere_in_the_document(reference: str) -> None:
    positive = {"type": "number", "minimum": 0, "exclusiveMinimum": True}
    components = {
        "schemas": {"Pet": {"properties": {"age": positive}}},
        "x-more": {"a/b c": positive},
    }
    schema = Schema(whole({"$ref": reference}, components=components), field="input")

    assert schema.is_valid(1)
    assert not schema.is_valid(0)


def test_what_stands_beside_a_reference_counts_in_3_1_alone() -> None:
    beside = {**PET, "description": "x"}

    assert "description" not in whole(beside)
    assert whole(beside, version="3.1.0")["description"] == "x"


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "https://evil.example/x.json"},
        {"$ref": "other.yaml#/Pet"},
        {"$ref": "#/components/schemas/No"},
        {"$ref": "#Pet"},
        {"properties": {"a": {"$ref": "file:///etc/passwd"}}},
        {"properties": {"a": 1}},
        {"items": [{"type": "string"}]},
        {"$id": "https://x.example"},
        {"allOf": [{"$dynamicRef": "#x"}]},
    ],
)
def test_what_cannot_stand_alone_is_unsupported(schema: Mapping[str, object]) -> None:
    with pytest.raises(Unsupported):
        whole(schema)


def test_a_schema_that_draws_in_the_whole_document_has_an_end() -> None:
    many = {
        f"S{number}": {
            "properties": {
                f"p{each}": {"$ref": f"#/components/schemas/S{(number + each) % 400}"}
                for each in range(20)
            }
        }
        for number in range(400)
    }

    with pytest.raises(Unsupported, match="65,536 bytes"):
        whole({"$ref": "#/components/schemas/S0"}, components={"schemas": many})


def test_a_schema_nested_deep_has_an_end() -> None:
    schema: dict[str, object] = {}
    for _ in range(200):
        schema = {"not": schema}

    with pytest.raises(Unsupported):
        whole(schema)
