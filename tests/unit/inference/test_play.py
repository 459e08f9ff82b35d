"""The echo engine speaks in the shape that a schema asks for."""

import json

import pytest

from services.chassis.schema import Schema
from services.inference.domain.request import JSON, Message, Request, ResponseSchema, Sampling
from services.inference.engines.echo.play import Turn, plan


def an_object(**properties: JSON) -> dict[str, JSON]:
    return {"type": "object", "properties": properties, "required": list(properties)}


THOUGHT: JSON = {"type": "string", "maxLength": 8}
CALL = an_object(tool={"const": "clock"}, input=an_object(zone={"type": "string"}))
CALLS = an_object(
    thought=THOUGHT,
    tool_calls={"type": "array", "minItems": 1, "maxItems": 4, "items": {"anyOf": [CALL]}},
)
ANSWER = an_object(thought=THOUGHT, answer={"type": "string", "maxLength": 12})
OWN = an_object(thought=THOUGHT, answer=an_object(score={"type": "integer", "minimum": 3}))


def turn(
    text: str, schema: dict[str, JSON] | None = None, prefix: str = "", **sampling: object
) -> Turn:
    bound = schema and ResponseSchema(schema, Schema(schema, field="s").violations)
    messages = (Message("user", text),)
    return plan(Request("", messages, Sampling(**sampling), bound or None, prefix))


def said(text: str, schema: dict[str, JSON]) -> JSON:
    return json.loads("".join(turn(text, schema).tokens))


def test_calls_are_made_in_order_and_with_any_input() -> None:
    script = 'thought:what time is it\ntool:clock {"zone": 5}\ntool:nope [1]\n\nlater'

    assert said(script, {"anyOf": [CALLS, ANSWER]}) == {
        "thought": "what tim",
        "tool_calls": [{"tool": "clock", "input": {"zone": 5}}, {"tool": "nope", "input": [1]}],
    }


def test_without_calls_the_answer_is_given_cut_to_its_bound() -> None:
    expected = {"thought": "echo", "answer": "hello there "}

    assert said("hello there you", {"anyOf": [CALLS, ANSWER]}) == expected


def test_where_no_calls_are_offered_the_answer_is_given() -> None:
    assert said("tool:clock {}\n\nbye", ANSWER)["answer"] == "bye"


def test_where_only_calls_are_offered_some_valid_call_is_made() -> None:
    assert Schema(CALLS, field="s").violations(said("hello", CALLS)) == []


def test_an_own_schema_is_answered_with_the_users_json() -> None:
    assert said('{"score": 9}', {"anyOf": [CALLS, OWN]})["answer"] == {"score": 9}


@pytest.mark.parametrize("text", ["not json", "7"])
def test_an_own_schema_is_answered_with_the_smallest_value_otherwise(text: str) -> None:
    assert said(text, OWN)["answer"] == {"score": 3}


def test_a_schema_of_another_kind_is_answered_with_the_users_json_if_it_matches() -> None:
    schema = an_object(score={"type": "integer", "minimum": 3})

    assert (said('{"score": 9}', schema), said('{"score": 1}', schema)) == (
        {"score": 9},
        {"score": 3},
    )


def test_garbage_is_not_what_the_schema_asks() -> None:
    with pytest.raises(json.JSONDecodeError):
        said("garbage\nhello", ANSWER)


def test_a_cut_turn_ends_after_half_its_text() -> None:
    cut = turn("cut\none two three four")

    assert ("".join(cut.tokens), cut.reason) == ("one two ", "length")


def test_a_turn_within_its_limit_ends_by_itself() -> None:
    ends = [turn("one two", max_tokens=limit).reason for limit in (1, 2, 3)]

    assert ends == ["length", "stop", "stop"]


def test_the_earliest_stop_text_ends_the_turn() -> None:
    ended = turn("one two three", stop=("three", "wo"))

    assert ("".join(ended.tokens), ended.reason) == ("one t", "stop")


def test_so_many_tokens_are_said_as_the_script_wants() -> None:
    assert len(turn("tokens:1000000").tokens) == 1_000_000


STEP = '{"thought": "\\"so\\"", "answer": "'


@pytest.mark.parametrize(
    ("prefix", "rest"),
    [
        ("one t", "wo three"),
        ("one two three", ""),
        ("Well: one two", " three"),
        ("Well: ", "one two three"),
        (STEP, 'one two three"}'),
        (STEP + "one tw", 'o three"}'),
        (STEP + "one two three", '"}'),
        ('{"thought": "one', " two three"),
    ],
)
def test_a_turn_goes_on_where_its_prefix_ends(prefix: str, rest: str) -> None:
    assert "".join(turn("one two three", prefix=prefix).tokens) == rest


def test_the_rest_of_a_step_is_escaped_as_json_is() -> None:
    text = 'say "hi"\nto\tBjörn'
    escaped = json.dumps(text, ensure_ascii=False)[1:-1]

    for cut in range(len(escaped) + 1):
        rest = "".join(turn(text, prefix=STEP + escaped[:cut]).tokens)
        assert json.loads(STEP + escaped[:cut] + rest)["answer"] == text


def test_a_prefix_that_almost_repeats_itself_is_gone_on_from_where_it_ends() -> None:
    assert "".join(turn("aabaaac", prefix="aabaabaa").tokens) == "ac"


def test_the_limits_of_a_turn_that_goes_on() -> None:
    stopped = turn("one two three", prefix="one t", stop=("three",))
    limited = turn("one two three", prefix="one t", max_tokens=1)

    assert ("".join(stopped.tokens), stopped.reason) == ("wo ", "stop")
    assert ("".join(limited.tokens), limited.reason) == ("wo ", "length")
