import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.domain.step import Malformed, Plan, Reader
from services.orchestrator.domain.tool import Tool

TOOL = Tool("calculator", "1.0.0", "Calculates.", {"type": "object"}, (), 1000, is_idempotent=True)
WRAPPED = Plan((TOOL,), True, None, 100)
BOUND = Plan((TOOL,), True, {"type": "object"}, 100)
DIRECT = Plan((), False, None, 100)

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


def read(plan: Plan, pieces: list[str]) -> tuple[Reader, str]:
    reader = Reader(plan)
    return reader, "".join(map(reader.feed, pieces))


def cut(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


@given(texts, texts, st.integers(1, 9), st.booleans())
def test_the_streamed_text_is_the_answer_however_the_output_is_cut(
    thought: str, answer: str, size: int, ascii_only: bool
) -> None:
    output = json.dumps({"thought": thought, "answer": answer}, ensure_ascii=ascii_only)

    reader, streamed = read(WRAPPED, cut(output, size))

    assert streamed == answer
    assert reader.thought == thought
    assert reader.finish().answer == answer


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(json_values, st.integers(1, 9))
def test_an_answer_bound_by_a_schema_streams_as_the_json_it_is(value: object, size: int) -> None:
    output = json.dumps({"thought": "t", "answer": value})

    reader, streamed = read(BOUND, cut(output, size))

    outcome = reader.finish()
    assert outcome.output == value
    assert json.loads(streamed + reader.rest()) == value


def test_the_thought_is_there_before_the_answer_begins() -> None:
    reader = Reader(WRAPPED)

    assert reader.feed('{"thought": "add them", "ans') == ""
    assert reader.thought == "add them"


def test_tool_calls_bring_no_text() -> None:
    calls = [{"tool": "calculator", "input": {"expression": "1+1"}}]

    reader, streamed = read(WRAPPED, cut(json.dumps({"thought": "t", "tool_calls": calls}), 3))

    assert streamed == ""
    assert [call.tool for call in reader.finish().calls] == ["calculator"]


def test_a_direct_answer_streams_as_it_comes() -> None:
    reader, streamed = read(DIRECT, ["Hel", "lo"])

    assert streamed == "Hello"
    assert reader.finish().answer == "Hello"


@pytest.mark.parametrize(
    "output",
    [
        "",
        "not json",
        "[]",
        "{}",
        '{"thought": "t"}',
        '{"thought": "t", "answer": ""}',
        '{"thought": "t", "answer": 5}',
        '{"thought": "t", "answer": "cut',
        '{"thought": "t", "tool_calls": []}',
        '{"thought": "t", "tool_calls": [{"tool": "calculator"}]}',
        '{"thought": "t", "tool_calls": [{"tool": 1, "input": {}}]}',
        '{"thought": "t", "answer": NaN}',
        '{"thought": "t", "answer": "\\ud800"}',
        '{"thought": "\\ud800", "answer": "a"}',
        "[" * 100_000,
    ],
)
def test_output_that_is_not_what_was_asked_is_malformed(output: str) -> None:
    def attempt() -> None:
        reader, _ = read(WRAPPED, cut(output, 7) or [""])
        reader.finish()

    with pytest.raises(Malformed):
        attempt()


@given(st.text(), st.integers(1, 9))
def test_no_output_does_worse_than_being_malformed(output: str, size: int) -> None:
    for plan in (WRAPPED, BOUND, DIRECT):
        try:
            read(plan, cut(output, size))[0].finish()
        except Malformed:
            continue


def test_the_last_step_offers_no_tools() -> None:
    schema = Plan((), True, None, 100).schema()

    assert schema is not None
    assert list(schema["properties"]) == ["thought", "answer"]


def test_a_step_offers_each_tool_by_name_and_an_answer() -> None:
    schema = WRAPPED.schema()

    assert schema is not None
    calling, answering = schema["anyOf"]
    offered = calling["properties"]["tool_calls"]["items"]["anyOf"]
    assert [each["properties"]["tool"] for each in offered] == [{"const": "calculator"}]
    assert answering["required"] == ["thought", "answer"]


def test_without_tools_the_schema_is_the_callers_own() -> None:
    assert Plan((), False, {"type": "object"}, 100).schema() == {"type": "object"}
    assert DIRECT.schema() is None
