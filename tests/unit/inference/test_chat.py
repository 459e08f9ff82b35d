"""What llama.cpp is asked."""

from services.inference.domain.request import Message, Request, ResponseSchema, Sampling
from services.inference.engines.chat import Defaults, body, turns

DEFAULTS = Defaults(temperature=0.2, top_p=0.9, max_tokens=512)


def test_what_a_tool_said_is_the_users_and_turns_in_a_row_are_one() -> None:
    messages = [
        Message("system", "s"),
        Message("user", "q"),
        Message("assistant", "call"),
        Message("tool", "r1"),
        Message("tool", "r2"),
    ]

    assert turns(messages) == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "call"},
        {"role": "user", "content": "r1\n\nr2"},
    ]


def test_a_prefix_is_the_last_turn_and_the_assistants() -> None:
    asked = body(Request("", (Message("user", "q"),), prefix="The an"), DEFAULTS, 4_096)

    assert asked["messages"] == [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "The an"},
    ]


def test_there_are_never_two_turns_of_the_assistant_in_a_row() -> None:
    messages = [Message("user", "q"), Message("assistant", "One.")]

    assert turns(messages, "Two") == [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "One.\n\nTwo"},
    ]


def test_zero_is_a_temperature_and_not_the_default() -> None:
    asked = body(Request("", (), Sampling(temperature=0.0)), DEFAULTS, 4_096)

    assert (asked["temperature"], asked["top_p"]) == (0.0, 0.9)


def test_no_seed_is_llamacpps_mark_for_a_random_one() -> None:
    seeds = [
        body(Request("", (), Sampling(seed=seed)), DEFAULTS, 1)["seed"]
        for seed in (-1, 0, 2**31 - 1)
    ]

    assert all(0 <= seed < 0xFFFF_FFFF for seed in seeds)


def test_the_window_bounds_the_tokens_asked_for() -> None:
    request = Request("", (), Sampling(max_tokens=10**9))

    assert body(request, DEFAULTS, 4_096)["max_tokens"] == 4_096


def test_a_schema_goes_out_as_a_grammar_in_its_own_order() -> None:
    schema = ResponseSchema({"properties": {"b": {}, "a": {}}}, lambda _: [])

    grammar = body(Request("", (), schema=schema), DEFAULTS, 1)["grammar"]

    assert isinstance(grammar, str)
    assert grammar.startswith("%llguidance")
    assert grammar.index('"b"') < grammar.index('"a"')


def test_free_text_has_one_sequence_breaker_and_json_llamacpps_four() -> None:
    schema = ResponseSchema({"type": "object"}, lambda _: [])

    free = body(Request("", ()), DEFAULTS, 1)
    bound = body(Request("", (), schema=schema), DEFAULTS, 1)

    assert free["dry_sequence_breakers"] == ["\n"]
    assert "dry_sequence_breakers" not in bound
