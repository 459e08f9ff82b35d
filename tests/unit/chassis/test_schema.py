"""JSON Schema: what is refused, and how violations read."""

import math

import pytest

from services.chassis.errors import InvalidArgument, Violation
from services.chassis.schema import Schema

ADDRESS = {
    "type": "object",
    "properties": {
        "expression": {"type": "string", "maxLength": 5},
        "count": {"type": "integer", "minimum": 1, "maximum": 10},
        "unit": {"enum": ["celsius", "kelvin"]},
        "when": {"type": "string", "format": "date-time"},
        "code": {"type": "string", "pattern": "^[a-z]+$"},
        "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "points": {"type": "array", "items": {"$ref": "#/$defs/point"}, "minItems": 1},
        "a/b": {"const": 3},
    },
    "required": ["expression"],
    "additionalProperties": False,
    "$defs": {
        "point": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}
    },
}


def refused(document: object, **limits: int) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        Schema(document, field="response_schema", **limits)  # type: ignore[arg-type]
    assert caught.value.reason == "SCHEMA_INVALID"
    assert caught.value.metadata["field"] == "response_schema"
    assert caught.value.metadata["suggested_fix"]
    return caught.value


def violation(value: object, document: dict[str, object] = ADDRESS) -> Violation:
    found = Schema(document, field="input").violations(value)
    assert len(found) == 1
    return found[0]


def chain(levels: int, width: int = 2) -> dict[str, object]:
    """References that double at each level."""
    parts: dict[str, object] = {
        f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * width} for n in range(levels)
    }
    parts[f"a{levels}"] = {"type": "number"}
    return {"$ref": "#/$defs/a0", "$defs": parts}


def test_a_valid_value_has_no_violations() -> None:
    assert Schema(ADDRESS, field="input").violations({"expression": "1+1"}) == []


@pytest.mark.parametrize(
    ("value", "field", "path", "fix"),
    [
        ({}, "input.expression", "/required", "add `expression` (string)"),
        ({"expression": 3}, "input.expression", "/properties/expression/type", "string"),
        ({"expression": "1", "expresion": 1}, "input.expresion", "/additionalProperties", "remove"),
        ({"expresion": "1", "expression": "1"}, "input.expresion", "/additionalProperties", ""),
        ({"expression": "1", "cuont": 1}, "input.cuont", "/additionalProperties", "`count`"),
        ({"expression": "1", "unit": "Celcius"}, "input.unit", "/properties/unit/enum", "celsius"),
        ({"expression": "1", "unit": 3}, "input.unit", "/properties/unit/enum", '"kelvin"'),
        ({"expression": "1", "count": 11}, "input.count", "/properties/count/maximum", "10"),
        ({"expression": "1", "count": 0}, "input.count", "/properties/count/minimum", "1"),
        ({"expression": "1", "count": "7"}, "input.count", "/properties/count/type", "such as 7"),
        ({"expression": "x" * 6}, "input.expression", "/properties/expression/maxLength", "5"),
        ({"expression": "1", "when": "now"}, "input.when", "/properties/when/format", "2026"),
        ({"expression": "1", "code": "A"}, "input.code", "/properties/code/pattern", "[a-z]"),
        ({"expression": "1", "maybe": 1}, "input.maybe", "/properties/maybe/anyOf", "null"),
        ({"expression": "1", "points": []}, "input.points", "/properties/points/minItems", "1"),
        ({"expression": "1", "a/b": 4}, "input.a/b", "/properties/a~1b/const", "send 3"),
        (
            {"expression": "1", "points": [{"x": 1}, {}]},
            "input.points[1].x",
            "/$defs/point/required",
            "add `x` (number)",
        ),
        ([], "input", "/type", "object"),
    ],
)
def test_a_violation_says_where_and_what_to_send(
    value: object, field: str, path: str, fix: str
) -> None:
    found = violation(value)

    assert (found.field, found.schema_path) == (field, path)
    assert fix in found.suggested_fix


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ({"exclusiveMinimum": 3}, 3),
        ({"exclusiveMaximum": 3}, 3),
        ({"multipleOf": 2}, 3),
        ({"minLength": 2}, "a"),
        ({"maxItems": 1}, [1, 2]),
        ({"minProperties": 1}, {}),
        ({"maxProperties": 0}, {"a": 1}),
        ({"uniqueItems": True}, [1, 1]),
        ({"not": {}}, 3),
        ({"contains": {"type": "string"}}, [1]),
        ({"propertyNames": {"maxLength": 1}}, {"ab": 1}),
        ({"oneOf": [{}, {}]}, 1),
        ({"oneOf": [{"type": "object", "required": ["a"]}, {"type": "null"}]}, {}),
        ({"anyOf": [{"minimum": 3}, {"maximum": 1}]}, 2),
        ({"anyOf": [False]}, 2),
        ({"properties": {"a": False}}, {"a": 1}),
        ({"additionalProperties": False}, {"a": 1}),
        ({"unevaluatedProperties": False}, {"a": 1}),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}),
        ({"if": True, "then": {"type": "null"}}, 1),
        ({"prefixItems": [{}], "items": False}, [1, 2]),
        ({"prefixItems": [{}], "unevaluatedItems": False}, [1, 2]),
    ],
)
def test_every_keyword_has_words_and_a_fix(keyword: dict[str, object], value: object) -> None:
    found = violation(value, keyword)

    assert found.field.startswith("input")
    assert found.message
    assert found.suggested_fix
    assert found.schema_path.startswith("/")


def test_at_most_ten_violations_are_told() -> None:
    schema = Schema({"items": {"type": "string"}}, field="input")

    assert len(schema.violations(list(range(50)))) == 10


def test_a_large_value_tells_its_first_violation() -> None:
    schema = Schema({"items": {"type": "string"}}, field="input")

    assert schema.violations(list(range(50_000)))[0].field == "input[0]"


def test_ten_of_a_thousand_unknown_properties_are_told() -> None:
    schema = Schema({"properties": {"a": {}}, "additionalProperties": False}, field="input")

    assert len(schema.violations({f"k{n}": n for n in range(1000)})) == 10


def test_long_values_are_cut_in_messages() -> None:
    found = violation({"expression": "1", "code": "A" * 10_000, "unit": "kelvin"})

    assert len(found.message) < 200
    assert len(found.suggested_fix) < 200


def test_long_names_are_cut_in_fields() -> None:
    schema = Schema({"additionalProperties": {"additionalProperties": False}}, field="input")

    assert len(schema.violations({"x" * 5000: {"y" * 5000: 1}})[0].field) <= 200


@pytest.mark.parametrize("value", [math.nan, "\ud800", {1}, 10**400])
def test_what_is_not_json_is_a_violation_and_not_a_crash(value: object) -> None:
    assert Schema({"type": "object"}, field="input").violations(value)


@pytest.mark.parametrize(
    "document",
    [
        "text",
        {"type": "nope"},
        {"properties": {"a": {"type": 3}}},
        {"$ref": "#/nowhere"},
        {"$ref": "https://example.com/schema"},
        {"properties": {"a": {"items": {"$ref": "other.json#/x"}}}},
        {"$dynamicRef": "other"},
        {"$defs": {"a": {"$id": "https://example.com/a"}}},
        {"$schema": "https://example.com/mine"},
        {"$schema": 3},
        {"pattern": "(?=a)b"},
        {"pattern": "((a{100}){100}){100}"},
        {"pattern": "("},
        {"patternProperties": {"(a)\\1": {}}},
        {"minimum": math.nan},
        {"title": "\ud800"},
        {"title": {1}},
        {"properties": {f"p{n}": {"pattern": f"a{n}"} for n in range(65)}},
        chain(40),
        chain(900, width=1),
        {"title": "x" * 70_000},
    ],
)
def test_a_schema_beyond_bounds_is_refused(document: object) -> None:
    refused(document)


def test_the_size_limit_can_be_set() -> None:
    refused({"title": "x" * 100}, max_bytes=50)


def test_deep_schemas_are_refused() -> None:
    document: dict[str, object] = {}
    for _ in range(40):
        document = {"not": document}

    refused(document)


def test_a_schema_that_holds_itself_is_refused() -> None:
    document: dict[str, object] = {}
    document["not"] = document

    refused(document)


@pytest.mark.parametrize(
    "dialect",
    [
        "https://json-schema.org/draft/2020-12/schema",
        "http://json-schema.org/draft-07/schema#",
    ],
)
def test_schemas_of_common_generators_are_accepted(dialect: str) -> None:
    schema = Schema({"$schema": dialect, "type": "string"}, field="input")

    assert not schema.is_valid(3)


def test_recursive_schemas_are_checked() -> None:
    tree = {
        "type": "object",
        "properties": {"value": {"type": "number"}, "left": {"$ref": "#"}, "right": {"$ref": "#"}},
        "required": ["value"],
    }
    schema = Schema(tree, field="input")

    assert schema.violations({"value": 1, "left": {"value": 2}}) == []
    assert schema.violations({"value": 1, "left": {}})[0].field == "input.left.value"


X, Y = {"$ref": "#/$defs/x"}, {"$ref": "#/$defs/y"}


@pytest.mark.parametrize(
    ("loop", "told"),
    [
        ({"$ref": "#"}, "#"),
        ({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}, "#"),
        ({"properties": {"a": X}, "$defs": {"x": X}}, "#/$defs/x"),
        ({"$defs": {"x": Y, "y": X}}, "#/$defs/x"),
        ({"$defs": {"x": {"allOf": [Y]}, "y": {"if": {"anyOf": [X]}}}}, "#/$defs/x"),
        ({"$defs": {"x": {"dependentSchemas": {"a": {"not": X}}}}}, "#/$defs/x"),
        ({"$defs": {"x": {"$anchor": "me", "$dynamicRef": "#me"}}}, "#me"),
    ],
)
def test_a_reference_that_only_leads_to_itself_is_refused(
    loop: dict[str, object], told: str
) -> None:
    error = refused(loop)

    assert f"has a reference that only leads to itself: {told}" in error.message


@pytest.mark.parametrize("step", ["items", "contains", "additionalProperties", "propertyNames"])
def test_a_reference_that_steps_into_the_value_is_recursion(step: str) -> None:
    Schema({"anyOf": [{"$ref": "#/$defs/x"}], "$defs": {"x": {step: X}}}, field="input")


def test_a_long_chain_of_references_is_followed() -> None:
    chained = {f"n{n}": {"$ref": f"#/$defs/n{n + 1}"} for n in range(1_500)}

    refused({"$defs": {**chained, "n1500": {"$ref": "#/$defs/n0"}}})


def test_recursion_that_doubles_at_each_level_ends() -> None:
    part = {"type": "array", "allOf": [{"items": {"$ref": "#/$defs/n"}}] * 2}
    schema = Schema({"$ref": "#/$defs/n", "$defs": {"n": part}}, field="input")
    value: object = 3
    for _ in range(30):
        value = [value]

    assert [each.field for each in schema.violations(value)] == ["input"]


def test_anchors_are_followed() -> None:
    document = {
        "$defs": {"a": {"$anchor": "number", "type": "number"}},
        "items": {"$ref": "#number"},
    }

    assert Schema(document, field="input").violations(["x"])[0].field == "input[0]"


def test_a_property_may_be_called_like_a_keyword() -> None:
    document = {"properties": {"$ref": {"type": "string"}, "$id": {"type": "string"}}}

    assert Schema(document, field="input").violations({"$ref": 3})[0].field == "input.$ref"


@pytest.mark.parametrize(
    "items",
    [
        {"enum": [[number] for number in range(7_000)]},
        {"enum": ["a", *range(7_000)]},
        {"const": [[number] for number in range(7_000)]},
        {"$ref": "#/$defs/one"},
    ],
)
def test_options_that_a_value_is_held_against_count(items: dict[str, object]) -> None:
    one = {"enum": [{"a": number} for number in range(5_000)]}
    schema = Schema({"items": items, "$defs": {"one": one}}, field="input", max_bytes=2**20)

    assert "too large to be checked" in schema.violations([[6_999]] * 12_000)[0].message
    assert not schema.is_valid([[6_999]] * 12_000)


def test_options_that_are_looked_up_count_nothing() -> None:
    schema = Schema({"items": {"enum": [str(n) for n in range(7_000)]}}, field="input")

    assert schema.is_valid(["6999"] * 12_000)


def test_misspelt_names_are_held_against_few_others_in_an_answer() -> None:
    properties = {f"{number:04}": True for number in range(1_400)}
    schema = Schema({"properties": properties, "additionalProperties": False}, field="input")

    fixes = [
        each.suggested_fix.split(";")[0]
        for value in ({"0049x": 1}, {"9999x": 1, "0003x": 1})
        for each in schema.violations(value)
    ]

    assert fixes == ["rename `0049x` to `0049`", "remove `9999x`", "remove `0003x`"]


def test_all_misspelt_names_are_told_where_few_are_known() -> None:
    properties = dict.fromkeys(("city", "unit"), True)
    schema = Schema({"properties": properties, "additionalProperties": False}, field="input")

    found = schema.violations({"cities": 1, "units": 1})

    assert {each.suggested_fix for each in found} == {
        "rename `cities` to `city`",
        "rename `units` to `unit`",
    }


def test_a_name_of_any_length_is_held_against_none() -> None:
    schema = Schema({"properties": {"a" * 64: True}, "additionalProperties": False}, field="input")

    assert schema.violations({"a" * 65: 1})[0].suggested_fix.startswith("remove")
