"""Which changes of a schema break callers."""

import pytest

from services.chassis.schema import Schema
from services.tool_registry.domain.compatibility import breaks_of_input, breaks_of_output

Document = dict[str, object]


def closed(required: str = "", **properties: object) -> Document:
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def opened(required: str = "", **properties: object) -> Document:
    return {"type": "object", "properties": properties, "required": required.split()}


TEXT: Document = {"type": "string"}
NUMBER: Document = {"type": "number"}
WHOLE: Document = {"type": "integer"}
NONE: Document = {"type": "null"}
NODE: Document = {
    "type": "object",
    "properties": {"value": WHOLE, "next": {"$ref": "#/$defs/node"}},
    "additionalProperties": False,
}
LIST: Document = {"$ref": "#/$defs/node", "$defs": {"node": NODE}}
WIDER_LIST: Document = {
    "$ref": "#/$defs/item",
    "$defs": {
        "item": {
            "type": "object",
            "properties": {"value": NUMBER, "next": {"$ref": "#/$defs/item"}, "note": TEXT},
            "additionalProperties": False,
        }
    },
}
MAYBE_TREE: Document = {
    "anyOf": [
        NONE,
        {"type": "object", "properties": {"left": {"$ref": "#"}}, "additionalProperties": False},
    ]
}
WIDER_TREE: Document = {
    "anyOf": [
        NONE,
        TEXT,
        {
            "type": "object",
            "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}},
            "additionalProperties": False,
        },
    ]
}

WIDER: list[tuple[object, object]] = [
    (closed(a=TEXT), closed(a=TEXT, b=NUMBER)),
    (closed("a", a=TEXT), closed(a=TEXT)),
    (closed(a=TEXT), opened(a=TEXT)),
    (opened(a=TEXT), opened(a=TEXT, b={})),
    (opened("a b", a=TEXT, b=TEXT), opened("a", a=TEXT)),
    (closed(a={"enum": ["x"]}), closed(a={"enum": ["y", "x"]})),
    (closed(a={"enum": ["x", "y"]}), closed(a=TEXT)),
    (closed(a={"enum": ["x", "y"]}), closed(a={"type": "string", "maxLength": 1})),
    (closed(a={"const": 1}), closed(a=WHOLE)),
    (WHOLE, NUMBER),
    (WHOLE, {"type": "number", "multipleOf": 1}),
    ({"type": "boolean"}, {"enum": [True, False, None]}),
    ({"type": "string", "title": "x"}, {"type": "string", "description": "y", "default": "z"}),
    ({"type": "string", "minLength": 2}, {"type": "string", "minLength": 1}),
    ({"type": "integer", "minimum": 2}, {"type": "integer", "exclusiveMinimum": 1}),
    ({"type": "integer", "exclusiveMaximum": 2}, {"type": "integer", "maximum": 2}),
    ({"type": "integer", "multipleOf": 6}, {"type": "integer", "multipleOf": 3}),
    ({"type": "string", "format": "date"}, TEXT),
    ({"type": "string", "format": "date"}, {"type": ["string", "null"], "format": "date"}),
    (TEXT, {"anyOf": [TEXT, NONE]}),
    ({"type": ["string", "null"]}, {"anyOf": [TEXT, NONE]}),
    ({"anyOf": [TEXT, NONE]}, {"type": ["string", "null"]}),
    ({"oneOf": [TEXT, NONE]}, {"type": ["string", "null"]}),
    (
        {"anyOf": [{"const": "a"}, {"const": "b"}]},
        {"anyOf": [{"const": "b"}, {"const": "a"}, {"const": "c"}]},
    ),
    ({"enum": ["a", "b"]}, {"anyOf": [{"const": "b"}, {"const": "a"}]}),
    ({"allOf": [TEXT, {"maxLength": 3}]}, {"type": "string", "maxLength": 4}),
    ({"type": "string", "maxLength": 3}, {"allOf": [TEXT, {"maxLength": 4}]}),
    ({"type": "array", "items": WHOLE}, {"type": "array", "items": NUMBER}),
    (
        {"type": "array", "prefixItems": [TEXT], "items": WHOLE},
        {"items": {"type": ["string", "integer"]}},
    ),
    ({"type": "array", "uniqueItems": True, "maxItems": 2}, {"type": "array", "maxItems": 3}),
    ({"type": "array", "contains": TEXT}, {"type": "array"}),
    (
        {"type": "object", "additionalProperties": WHOLE},
        {"type": "object", "additionalProperties": NUMBER},
    ),
    (
        {"patternProperties": {"^x": WHOLE}, "additionalProperties": False},
        {"patternProperties": {"^x": NUMBER}, "additionalProperties": TEXT},
    ),
    (
        {"patternProperties": {"^x": WHOLE}, "additionalProperties": False},
        {"additionalProperties": WHOLE},
    ),
    ({"type": "object", "propertyNames": {"maxLength": 3}}, {"propertyNames": {"maxLength": 4}}),
    (closed(ab=TEXT), {"propertyNames": {"maxLength": 2}}),
    (closed("b", a=TEXT, b=TEXT), {"dependentRequired": {"a": ["b"], "c": ["d"]}}),
    ({"not": {"type": ["string", "null"]}}, {"not": NONE}),
    (TEXT, {"not": NONE}),
    ({"if": TEXT, "then": {"maxLength": 3}}, {"if": TEXT, "then": {"maxLength": 3}}),
    ({"type": "object", "dependentSchemas": {"a": {"required": ["b"]}}}, {"type": "object"}),
    (LIST, LIST),
    (LIST, WIDER_LIST),
    (MAYBE_TREE, WIDER_TREE),
    (False, TEXT),
    (TEXT, True),
    (
        {"$defs": {"t": TEXT}, "properties": {"a": {"$ref": "#/$defs/t"}}},
        {"properties": {"a": TEXT}},
    ),
    ({"x-order": 1, **TEXT}, {"x-order": 2, **TEXT}),
    ({"oneOf": [TEXT, NUMBER]}, {"oneOf": [TEXT, NUMBER], "title": "same"}),
]

# What is not wider, the other way round, or neither way.
NEITHER: list[tuple[object, object]] = [
    (TEXT, NUMBER),
    (opened(a=TEXT), opened(a=NUMBER)),
    ({"pattern": "^a"}, {"pattern": "^b"}),
    ({"enum": [1, 2]}, {"enum": [2, 3]}),
    ({"enum": [1]}, {"enum": [True]}),
    ({"oneOf": [TEXT, {"maxLength": 2}]}, {"oneOf": [TEXT, {"maxLength": 3}]}),
    ({"contains": TEXT}, {"contains": NUMBER}),
    ({"if": TEXT, "then": {"maxLength": 3}}, {"if": TEXT, "then": {"minLength": 3}}),
    (
        {"properties": {"a": TEXT}, "unevaluatedProperties": False},
        {"properties": {"b": TEXT}, "unevaluatedProperties": False},
    ),
    ({"$ref": "#/$defs/a", "$defs": {"a": TEXT}}, {"$ref": "#/$defs/a", "$defs": {"a": NUMBER}}),
    (
        {"$ref": "#a", "$defs": {"a": {"$anchor": "a", **TEXT}}},
        {"$ref": "#/$defs/a", "$defs": {"a": NUMBER}},
    ),
    ({"$ref": "#"}, TEXT),
    ({"unheard": 1}, {"unheard": 2}),
]
NARROWER: list[tuple[object, object]] = [
    (opened(a=TEXT), opened(a=TEXT, b=TEXT)),
    ({}, TEXT),
    (TEXT, {"type": "string", "pattern": "^a"}),
    ({"type": "number", "multipleOf": 3}, {"type": "number", "multipleOf": 6}),
    ({"type": "array"}, {"type": "array", "minItems": 1}),
    ({"type": "array"}, {"type": "array", "uniqueItems": True}),
    ({"type": "array"}, {"type": "array", "contains": {}}),
    (opened(a=TEXT), closed(a=TEXT)),
    (closed(a=TEXT, b=TEXT), closed(a=TEXT)),
    (closed(a=TEXT), closed("a", a=TEXT)),
    (NUMBER, WHOLE),
    ({"type": "object"}, {"type": "object", "propertyNames": {"maxLength": 3}}),
    ({"type": "object"}, {"type": "object", "dependentRequired": {"a": ["b"]}}),
    ({"type": "object"}, {"type": "object", "minProperties": 1}),
    (WIDER_LIST, LIST),
    (WIDER_TREE, MAYBE_TREE),
    ({"type": "array", "items": NUMBER}, {"type": "array", "prefixItems": [WHOLE]}),
]


@pytest.mark.parametrize(("narrow", "wide"), WIDER)
def test_input_may_accept_more_and_output_may_promise_more(narrow: object, wide: object) -> None:
    assert breaks_of_input(narrow, wide) == []  # type: ignore[arg-type]
    assert breaks_of_output(wide, narrow) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("old", "new"), [*NEITHER, *((new, old) for old, new in NEITHER), *NARROWER]
)
def test_input_must_not_accept_less_and_output_must_not_promise_less(
    old: object, new: object
) -> None:
    assert breaks_of_input(old, new)  # type: ignore[arg-type]
    assert breaks_of_output(new, old)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("old", "new", "path", "what"),
    [
        (closed(a=TEXT), closed(a=NUMBER), "/properties/a/type", "type number"),
        (closed(a=TEXT), closed("a", a=TEXT), "/required", "required a"),
        (closed(**{"a/b": TEXT}), closed(), "/properties/a~1b", "is refused"),
        (opened(), closed(), "/additionalProperties", "is refused"),
        (
            {"type": "array", "items": TEXT},
            {"type": "array", "items": {"type": "string", "maxLength": 3}},
            "/items/maxLength",
            "maxLength 3",
        ),
    ],
)
def test_a_break_says_where_it_is(old: Document, new: Document, path: str, what: str) -> None:
    found = breaks_of_input(old, new)

    assert [(each.path, each.what) for each in found] == [(path, what)]


def test_every_break_is_told() -> None:
    old, new = closed(a=TEXT, b=TEXT, c=TEXT), closed("a", a=TEXT, b=WHOLE)

    assert {each.path for each in breaks_of_input(old, new)} == {
        "/required",
        "/properties/b/type",
        "/properties/c",
    }


@pytest.mark.timeout(5)
def test_schemas_that_would_take_long_to_compare_are_breaking() -> None:
    def knot(kind: str) -> Document:
        names = [f"n{n}" for n in range(8)]
        parts: Document = {
            name: {
                "anyOf": [
                    {"type": "object", "properties": {each: {"$ref": f"#/$defs/{each}"}}}
                    for each in names
                ]
                + [{"type": kind}]
            }
            for name in names
        }
        return {"$ref": "#/$defs/n0", "$defs": parts}

    assert breaks_of_input(knot("string"), knot("number"))


def test_a_reference_leads_where_the_validator_has_it_lead() -> None:
    referring: Document = {"$ref": "#/$defs/a%2Fb", "$defs": {"a/b": TEXT, "a": {"b": WHOLE}}}

    assert Schema(referring, field="input").is_valid(1)
    assert breaks_of_input(referring, WHOLE) == []
    assert breaks_of_input(referring, TEXT) != []
