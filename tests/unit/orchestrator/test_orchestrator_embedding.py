"""A schema asks for the same, alone and as a part of a step's schema."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import pytest

from services.chassis.errors import InvalidArgument
from services.chassis.schema import Schema
from services.orchestrator.adapters.schemas import CompiledSchemas
from services.orchestrator.domain.step import Plan
from services.orchestrator.domain.tool import Tool

Document = dict[str, object]


@dataclass(frozen=True)
class Case:
    """A schema, and values that do and do not satisfy it."""

    schema: Document
    good: list[object]
    bad: list[object]


def referring(schema: Document, **definitions: object) -> Document:
    return {"$defs": {"n": {"type": "integer"}, **definitions}, **schema}


DRAFT_7 = "http://json-schema.org/draft-07/schema#"
N: Document = {"$ref": "#/$defs/n"}
CASES = {
    "no reference": Case({"type": "integer"}, [1], ["x"]),
    "definition": Case(referring({"properties": {"a": N}}), [{"a": 1}], [{"a": "x"}]),
    "definition at the root": Case(referring(N), [1], ["x"]),
    "definition of a definition": Case(
        referring({"items": {"$ref": "#/$defs/m"}}, m=N), [[1]], [["x"]]
    ),
    "old definitions": Case(
        {"definitions": {"n": {"type": "integer"}}, "items": {"$ref": "#/definitions/n"}},
        [[1]],
        [["x"]],
    ),
    "itself": Case(
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "additionalProperties": False},
        [{}, {"a": {"a": {}}}],
        [{"a": 1}, {"a": {"b": 1}}],
    ),
    "definition that is recursive": Case(
        referring(
            {"$ref": "#/$defs/tree"},
            tree={"type": "array", "items": {"$ref": "#/$defs/tree"}},
        ),
        [[], [[], [[]]]],
        [[1], {}],
    ),
    "beside a reference": Case(referring({**N, "minimum": 3}), [3], [2, "x"]),
    "unevaluated": Case(
        referring(
            {"$ref": "#/$defs/b", "unevaluatedProperties": False}, b={"properties": {"x": N}}
        ),
        [{"x": 1}],
        [{"y": 1}, {"x": "x"}],
    ),
    "anchor": Case(
        {"$defs": {"n": {"$anchor": "num", "type": "integer"}}, "items": {"$ref": "#num"}},
        [[1]],
        [["x"]],
    ),
    "dynamic anchor": Case(
        {
            "$defs": {"n": {"$dynamicAnchor": "num", "type": "integer"}},
            "items": {"$dynamicRef": "#num"},
        },
        [[1]],
        [["x"]],
    ),
    "dynamic reference to a definition": Case(
        referring({"items": {"$dynamicRef": "#/$defs/n"}}), [[1]], [["x"]]
    ),
    "property of the name $ref": Case(
        referring({"properties": {"$ref": N, "b": {"$ref": "#/properties/%24ref"}}}),
        [{"$ref": 1, "b": 2}],
        [{"$ref": "x"}, {"b": "x"}],
    ),
    "pattern of the name enum": Case(
        referring({"patternProperties": {"enum": N}}), [{"enum": 1}], [{"enum": "x"}]
    ),
    "dependent schema of the name const": Case(
        referring({"dependentSchemas": {"const": {"properties": {"a": N}}}}),
        [{"a": "x"}, {"const": 0, "a": 1}],
        [{"const": 0, "a": "x"}],
    ),
    "definition of the name examples": Case(
        referring({"items": {"$ref": "#/$defs/examples"}}, examples=N), [[1]], [["x"]]
    ),
    "const that looks like a reference": Case(
        referring({"properties": {"a": {"const": N}, "b": N}}),
        [{"a": N, "b": 1}],
        [{"a": 1}, {"b": "x"}, {"a": {"$ref": "#/$defs/answer/$defs/n"}}],
    ),
    "enum that looks like references": Case(
        referring({"properties": {"a": {"enum": [N, {"$anchor": "num"}]}, "b": N}}),
        [{"a": N}, {"a": {"$anchor": "num"}, "b": 1}],
        [{"a": 1}, {"b": "x"}],
    ),
    "default and examples that look like references": Case(
        referring({"default": {"$ref": "#/nope"}, "examples": [{"$ref": "#/nope"}], "items": N}),
        [[1]],
        [["x"]],
    ),
    "name of a document": Case(
        referring({"$id": "https://example.com/a", "items": N}), [[1]], [["x"]]
    ),
    "dialect": Case(
        {"$schema": DRAFT_7, "prefixItems": [{"type": "integer"}]},
        [[1]],
        [["x"]],
    ),
} | {
    f"property of the name {name}": Case(
        referring({"properties": {name: N}}), [{name: 1}], [{name: "x"}]
    )
    for name in ("const", "enum", "default", "examples", "$defs", "properties", "$anchor", "$id")
}


def tool(name: str, schema: Document) -> Tool:
    return Tool(name, "1.0.0", "Does it.", schema, (), 1000, is_idempotent=True)


PLAIN = tool("plain", {"type": "object"})


def step(answer: Document | None, *tools: Tool) -> Schema:
    document = Plan(tools, True, answer, 100).schema()
    assert document is not None
    return Schema(document, field="step")


def answering(value: object) -> Document:
    return {"thought": "t", "answer": value}


def calling(name: str, value: object) -> Document:
    return {"thought": "t", "tool_calls": [{"tool": name, "input": value}]}


def verdicts(schema: Schema, values: list[object]) -> list[bool]:
    return [schema.is_valid(value) for value in values]


@pytest.mark.parametrize("tools", [(), (PLAIN,)], ids=["last step", "with tools"])
@pytest.mark.parametrize("name", CASES)
def test_an_answers_schema_asks_for_the_same_in_a_step(name: str, tools: tuple[Tool, ...]) -> None:
    case = CASES[name]
    values = [*case.good, *case.bad]
    alone = Schema(case.schema, field="response_schema")

    embedded = step(case.schema, *tools)

    expected = [True] * len(case.good) + [False] * len(case.bad)
    assert verdicts(alone, values) == expected
    assert verdicts(embedded, [answering(value) for value in values]) == expected


@pytest.mark.parametrize("name", CASES)
def test_a_tools_schema_asks_for_the_same_in_a_step(name: str) -> None:
    case = CASES[name]
    values = [*case.good, *case.bad]

    embedded = step(None, PLAIN, tool("look", case.schema), tool("find", case.schema))

    expected = [True] * len(case.good) + [False] * len(case.bad)
    for each in ("look", "find"):
        assert verdicts(embedded, [calling(each, value) for value in values]) == expected


def pairs() -> Iterator[tuple[str, str]]:
    referring_cases = [name for name, case in CASES.items() if "$defs" in case.schema]
    yield from combinations(referring_cases, 2)


def test_schemas_of_one_step_do_not_meet() -> None:
    for first, second in pairs():
        one, other = CASES[first], CASES[second]

        embedded = step(other.schema, tool("look", one.schema), PLAIN)

        assert all(verdicts(embedded, [calling("look", value) for value in one.good]))
        assert not any(verdicts(embedded, [calling("look", value) for value in one.bad]))
        assert all(verdicts(embedded, [answering(value) for value in other.good]))
        assert not any(verdicts(embedded, [answering(value) for value in other.bad]))


@pytest.mark.parametrize("key", ["$anchor", "$dynamicAnchor"])
def test_anchors_of_one_name_stay_apart(key: str) -> None:
    def anchored(kind: str) -> Document:
        return {"$defs": {"n": {key: "same", "type": kind}}, "items": {"$ref": "#same"}}

    tools = [tool("numbers", anchored("integer")), tool("texts", anchored("string"))]
    embedded = step(anchored("boolean"), *tools)

    assert verdicts(embedded, [calling("numbers", [1]), calling("numbers", ["x"])]) == [True, False]
    assert verdicts(embedded, [calling("texts", ["x"]), calling("texts", [1])]) == [True, False]
    assert verdicts(embedded, [answering([True]), answering([1])]) == [True, False]


def deep(levels: int) -> Document:
    return {"allOf": [deep(levels - 1)]} if levels else {"type": "integer"}


@pytest.mark.parametrize("levels", range(10, 14))
def test_a_schema_that_is_taken_fits_into_a_step(levels: int) -> None:
    CompiledSchemas().check(deep(levels), field="response_schema")

    assert step(deep(levels), PLAIN).is_valid(answering(1))


@pytest.mark.parametrize("levels", range(14, 18))
def test_a_schema_that_would_not_fit_into_a_step_is_not_taken(levels: int) -> None:
    with pytest.raises(InvalidArgument) as caught:
        CompiledSchemas().check(deep(levels), field="response_schema")

    assert caught.value.reason == "SCHEMA_INVALID"


@pytest.mark.parametrize("key", ["const", "enum", "default", "examples"])
def test_data_that_looks_like_a_reference_is_left_as_it_is(key: str) -> None:
    schema: Document = {"title": "t", key: [{"$ref": "#/$defs/n"}]}

    document = Plan((), True, schema, 100).schema()

    assert document is not None
    assert document["properties"]["answer"] == schema
    assert "$defs" not in document
