"""What callers are taken to send to an input schema."""

import pytest

from services.chassis.schema import Schema
from services.tool_registry.domain.changes import broken
from services.tool_registry.domain.compatibility.sent import as_sent
from services.tool_registry.domain.tool import Definition
from tests.unit.tool_registry.fakes import entry

TEXT = {"type": "string"}
OPEN = {"type": "object", "properties": {"a": TEXT}}
WIDER = {"type": "object", "properties": {"a": TEXT, "b": TEXT}}
NEEDING = {**WIDER, "required": ["b"]}


def breaks(old: dict[str, object], new: dict[str, object]) -> list[str]:
    definitions = [
        entry(input_schema=Schema(each, field="input")).definition for each in (old, new)
    ]
    return [each.where.path for each in broken(*definitions)]


def test_a_further_optional_field_breaks_nobody() -> None:
    assert breaks(OPEN, WIDER) == []


def test_to_close_an_object_that_was_silent_breaks_nobody() -> None:
    assert breaks(OPEN, {**WIDER, "additionalProperties": False}) == []


def test_a_further_field_within_breaks_nobody() -> None:
    inner, more = {"type": "array", "items": OPEN}, {"type": "array", "items": WIDER}

    assert breaks({"properties": {"list": inner}}, {"properties": {"list": more}}) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (OPEN, NEEDING),
        ({**OPEN, "additionalProperties": True}, WIDER),
        ({**OPEN, "additionalProperties": TEXT}, {**OPEN, "additionalProperties": False}),
        ({"type": "object"}, OPEN),
        (WIDER, {**OPEN, "additionalProperties": False}),
        ({"allOf": [OPEN]}, {"allOf": [WIDER]}),
    ],
)
def test_what_callers_may_have_sent_must_go_on(
    old: dict[str, object], new: dict[str, object]
) -> None:
    assert breaks(old, new)


@pytest.mark.parametrize(
    "document",
    [
        {"type": "object"},
        {"allOf": [OPEN, WIDER]},
        {**OPEN, "allOf": [WIDER]},
        {"properties": {"a": TEXT, "b": {"$ref": "#"}}},
        {"$defs": {"x": OPEN}, "allOf": [{"$ref": "#/$defs/x"}]},
    ],
)
def test_an_object_that_is_put_together_stays_as_it_is(document: dict[str, object]) -> None:
    assert as_sent(document) == document


def test_the_schema_itself_is_not_changed() -> None:
    before = {"type": "object", "properties": {"a": dict(OPEN)}}
    as_sent(before)

    assert before == {"type": "object", "properties": {"a": OPEN}}


def test_what_breaks_is_told_in_one_order_whatever_the_order_of_the_schemas_parts() -> None:
    def definition(names: str, kind: str) -> Definition:
        parts = {"type": "object", "properties": {name: {"type": kind} for name in names}}
        return entry(
            input_schema=Schema(parts, field="input"), output_schema=Schema(parts, field="output")
        ).definition

    orders = ["abcd", "dcba", "cadb"]
    told = [broken(definition(names, "string"), definition(names, "integer")) for names in orders]

    paths = [f"/properties/{name}/type" for name in "abcd"]
    assert told[0] == told[1] == told[2]
    assert [each.where.path for each in told[0]] == paths * 2
    assert [each.field for each in told[0]] == ["tool.input_schema"] * 4 + [
        "tool.output_schema"
    ] * 4
