"""What a tool may answer, and what a default may be."""

import math
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis import structs
from services.chassis.errors import InvalidArgument
from services.chassis.schema import Schema
from services.tool_registry.domain import result
from services.tool_registry.domain.tool import Default, Definition, ToolFailure
from tests.unit.tool_registry.fakes import FakeTool

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just({1}),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def definition(output: object = None, default: Default | None = None) -> Definition:
    schema = Schema(output or {}, field="output")  # type: ignore[arg-type]
    return FakeTool(output=schema, default=default).entry.definition


def nested(levels: int, inner: object) -> object:
    for level in range(levels):
        inner = [inner] if level % 2 else {"a": inner}
    return inner


def reason(
    value: object, *, output: object = None, content: object = (), max_bytes: int = 10**6
) -> str:
    """Why a value is refused; empty if it is not."""
    try:
        result.check(value, definition(output), max_bytes, content)  # type: ignore[arg-type]
    except ToolFailure as failure:
        return failure.reason if failure.message and failure.suggested_fix else "unclear"
    return ""


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        [-math.inf],
        {1, 2},
        {"a": b"x"},
        10**400,
        2**53 + 1,
        1e300,
        {1: "a"},
        {None: 1},
        {"a": object()},
        "\ud800",
        {"\ud800": 1},
        timedelta(1),
        1j,
        iter([1]),
    ],
)
def test_what_is_no_portable_json_is_the_tools_fault(value: object) -> None:
    assert reason(value) == "TOOL_OUTPUT_INVALID"


@pytest.mark.parametrize("value", [None, True, 0, -(2**53), 0.5, "", "𝄞", [], {}, (1, "a"), [[{}]]])
def test_json_is_not(value: object) -> None:
    assert reason(value) == ""


@pytest.mark.parametrize("inner", [1, [], {}])
def test_the_deepest_value_that_is_taken_can_be_sent(inner: object) -> None:
    deepest = result.MAX_DEPTH if inner == 1 else result.MAX_DEPTH - 1
    structs.from_value(nested(deepest, inner), structs.Value())

    assert reason(nested(deepest, inner)) == ""
    assert reason(nested(deepest + 1, inner)) == "TOOL_OUTPUT_INVALID"


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[object] = []
    value.append(value)

    assert reason(value) == "TOOL_OUTPUT_INVALID"


def test_a_value_that_grows_when_it_is_written_is_refused_before_it_is() -> None:
    value: object = "ha"
    for _ in range(25):
        value = [value] * 10

    assert reason(value) == "TOOL_RESULT_TOO_LARGE"


@pytest.mark.parametrize("value", ["x" * 10**8, {"x" * 10**8: 1}, [0] * 10**6, ["x" * 99] * 11])
def test_a_value_beyond_the_limit_is_refused(value: object) -> None:
    assert reason(value, max_bytes=1000) == "TOOL_RESULT_TOO_LARGE"


def test_bytes_are_counted_and_not_characters() -> None:
    assert reason("é" * 300, max_bytes=602) == ""
    assert reason("é" * 300, max_bytes=601) == "TOOL_RESULT_TOO_LARGE"


@given(JSON)
def test_whatever_is_taken_can_be_sent(value: object) -> None:
    if reason(value):
        return

    structs.from_value(value, structs.Value())


@pytest.mark.parametrize(
    ("output", "value"),
    [
        ({"type": "string"}, 3),
        ({"type": "string", "format": "date-time"}, "yesterday"),
        ({"type": "string", "format": "email"}, "nobody"),
        ({"type": "string", "format": "uuid"}, "1"),
        ({"type": "string", "format": "uri"}, "no uri"),
        ({"type": "object", "required": ["a"]}, {}),
        ({"type": "object", "additionalProperties": False}, {"secret": 1}),
    ],
)
def test_a_value_that_breaks_its_schema_is_the_tools_fault(output: object, value: object) -> None:
    assert reason(value, output=output) == "TOOL_OUTPUT_INVALID"


@pytest.mark.parametrize("target", ["https://example.com/a", "other.json", "//x/y#/a", "file:///a"])
@pytest.mark.parametrize("word", ["$ref", "$dynamicRef"])
def test_no_schema_of_a_tool_refers_to_elsewhere(target: str, word: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Schema({"properties": {"a": {word: target}}}, field="output_schema")

    assert caught.value.reason == "SCHEMA_INVALID"


def test_content_is_bounded_together_with_the_value() -> None:
    blocks = [{"type": "text", "text": "x" * 400}]

    assert reason("x" * 400, content=blocks, max_bytes=1000) == ""
    assert reason("x" * 600, content=blocks, max_bytes=1000) == "TOOL_RESULT_TOO_LARGE"
    assert reason(1, content=[{"type": "image", "data": "x" * 10**7}]) == "TOOL_RESULT_TOO_LARGE"


@pytest.mark.parametrize(
    "content",
    [
        [{}],
        [{"type": 1}],
        ["text"],
        [None],
        "text",
        {"type": "text"},
        [{"type": "text", "text": math.nan}],
        [{"type": "text", "text": b"x"}],
    ],
)
def test_content_that_is_none_is_the_tools_fault(content: Sequence[object]) -> None:
    assert reason(1, content=content) == "TOOL_OUTPUT_INVALID"
