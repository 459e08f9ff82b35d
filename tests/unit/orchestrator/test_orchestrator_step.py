import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.domain.reader import MAX_OUTPUT_DEPTH, MAX_TAIL, Reader
from services.orchestrator.domain.step import MAX_CALLS, Begun, Malformed, Plan
from services.orchestrator.domain.tool import Tool

TOOL = Tool("calculator", "1.0.0", "Calculates.", {"type": "object"}, (), 1000, is_idempotent=True)
WRAPPED = Plan((TOOL,), True, None, 100)
BOUND = Plan((TOOL,), True, {"type": "object"}, 100)
DIRECT = Plan((), False, None, 100)
ASKED = Plan((), False, {}, 100)

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


def rest_of(thought: str, text: str, *, is_wrapped: bool = True, most: int = 10**6) -> Plan:
    return Plan((), is_wrapped, None, 100, Begun(thought, text, most))


@given(texts, texts, st.integers(0, 20), st.integers(1, 9), st.booleans())
def test_the_rest_of_a_step_is_read_from_any_character_of_its_answer(
    thought: str, answer: str, cut_at: int, size: int, ascii_only: bool
) -> None:
    plan = rest_of(thought, answer[:cut_at])
    rest = json.dumps(answer[cut_at:], ensure_ascii=ascii_only)[1:] + "}"

    reader, streamed = read(plan, cut(rest, size))

    assert json.loads(plan.prefix + rest) == {"thought": thought, "answer": answer}
    assert (streamed, reader.thought) == (answer[cut_at:], thought)
    assert reader.finish().answer == answer


def test_a_step_is_gone_on_with_as_the_model_was_asked_to_write_it() -> None:
    step = json.dumps({"thought": "t", "answer": "Björn said"}, ensure_ascii=False)

    assert rest_of("t", "Björn").prefix == step[: step.index(" said")]
    assert rest_of("", "Björn", is_wrapped=False).prefix == "Björn"
    assert rest_of("t", "Björn").schema() is None


@pytest.mark.parametrize("tail", ["", "}", ', "more": 1}', "} and so on", '"'])
def test_what_follows_the_end_of_an_answer_that_went_on_is_nothing(tail: str) -> None:
    reader, streamed = read(rest_of("t", "One "), ['two"' + tail])

    assert (streamed, reader.has_ended) == ("two", True)
    assert reader.finish().answer == "One two"


def test_nobody_listens_to_more_than_the_end_of_the_step() -> None:
    reader, _ = read(rest_of("t", "One "), ['two"}'])
    before = reader.is_beyond

    reader.feed("x" * MAX_TAIL)

    assert (before, reader.is_beyond) == (False, True)


@pytest.mark.parametrize(("most", "streamed"), [(8, "two, "), (7, "two,"), (3, ""), (2, "")])
def test_an_answer_that_goes_on_is_no_longer_than_its_step_allows(most: int, streamed: str) -> None:
    reader, heard = read(rest_of("t", "One", most=most), ["tw", "o, ", "three"])

    assert (heard, reader.is_beyond) == (streamed, True)
    assert reader.finish().answer == "One" + streamed


@pytest.mark.parametrize("rest", ["", "two", "two\\", r"\ud800" + '"', r"\x" + '"'])
def test_a_rest_that_does_not_end_its_answer_is_malformed(rest: str) -> None:
    def attempt() -> None:
        read(rest_of("t", "One "), [rest])[0].finish()

    with pytest.raises(Malformed):
        attempt()


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
    for plan in (WRAPPED, BOUND, DIRECT, rest_of("t", "a"), rest_of("", "a", is_wrapped=False)):
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


def nested(levels: int) -> str:
    return '{"a": [' * (levels // 2) + "[]" * (levels % 2) + "]}" * (levels // 2)


BEYOND = [
    "9007199254740993",
    "-9007199254740993",
    "1e400",
    "-1e400",
    "1" + "0" * 400,
    "[1, 1e16]",
    '{"a": {"b": 9007199254740994}}',
]
WITHIN = ["9007199254740992", "-9007199254740992", "1e15", "0.1", "true"]


@pytest.mark.parametrize("number", BEYOND)
def test_a_number_that_json_does_not_carry_is_malformed(number: str) -> None:
    answer = f'{{"thought": "t", "answer": {number}}}'
    call = f'{{"tool": "calculator", "input": {{"x": {number}}}}}'
    calls = f'{{"thought": "t", "tool_calls": [{call}]}}'

    for plan, output in ((ASKED, number), (BOUND, answer), (WRAPPED, calls)):
        with pytest.raises(Malformed):
            read(plan, [output])[0].finish()


@pytest.mark.parametrize("number", WITHIN)
def test_a_number_that_json_carries_is_read(number: str) -> None:
    assert read(ASKED, [number])[0].finish().output == json.loads(number)


@pytest.mark.parametrize("levels", [29, 30, 31, 64])
def test_output_that_is_nested_too_deeply_is_malformed(levels: int) -> None:
    answer = f'{{"thought": "t", "answer": {nested(levels - 1)}}}'

    assert MAX_OUTPUT_DEPTH == 28
    for plan, output in ((ASKED, nested(levels)), (BOUND, answer)):
        with pytest.raises(Malformed):
            read(plan, [output])[0].finish()


@pytest.mark.parametrize("levels", [1, 27, 28])
def test_output_that_is_nested_as_deeply_as_it_may_be_is_read(levels: int) -> None:
    assert read(ASKED, [nested(levels)])[0].finish().output == json.loads(nested(levels))


def asks(*calls: tuple[str, Mapping[str, object]]) -> str:
    wanted = [{"tool": name, "input": given} for name, given in calls]
    return json.dumps({"thought": "t", "tool_calls": wanted})


def test_a_harmless_call_that_is_asked_for_twice_is_made_once() -> None:
    one, other = ("calculator", {"a": 1, "b": 2}), ("calculator", {"a": 1})
    again = ("calculator", {"b": 2, "a": 1})

    outcome = read(WRAPPED, [asks(one, other, again)])[0].finish()

    assert [(call.tool, call.input) for call in outcome.calls] == [one, other]


def test_a_call_that_does_something_is_made_as_often_as_it_is_asked_for() -> None:
    send = Tool("send", "1.0.0", "Sends.", {"type": "object"}, (), 1000, is_idempotent=False)
    plan = Plan((TOOL, send), True, None, 100)

    outcome = read(plan, [asks(("send", {}), ("calculator", {}), ("send", {}))])[0].finish()

    assert [call.tool for call in outcome.calls] == ["send", "calculator", "send"]


def test_more_calls_than_a_step_may_have_are_malformed() -> None:
    calls = [("calculator", {"n": n}) for n in range(MAX_CALLS + 1)]

    assert len(read(WRAPPED, [asks(*calls[:-1])])[0].finish().calls) == MAX_CALLS
    with pytest.raises(Malformed):
        read(WRAPPED, [asks(*calls)])[0].finish()
