"""What the echo engine reads in a message."""

import pytest

from services.inference.domain.request import Message
from services.inference.engines.echo.script import MAX_SLEEP_MS, Counted, parse, split


def test_lines_that_are_no_directives_are_the_answer() -> None:
    assert parse("  one\n\ntwo \n").text == "one\n\ntwo"


def test_nothing_to_say_is_said_as_done() -> None:
    assert parse("tool:clock {}").text == "done"


def test_consecutive_calls_are_one_step_and_an_empty_line_begins_the_next() -> None:
    script = parse('tool:a {"x": 1}\ntool:b\n\ntool:c {}\nbye')

    assert [step.calls for step in script.steps] == [
        [{"tool": "a", "input": {"x": 1}}, {"tool": "b", "input": {}}],
        [{"tool": "c", "input": {}}],
    ]
    assert script.text == "bye"


def test_a_directive_between_calls_belongs_to_the_next_step() -> None:
    script = parse("thought:first\ntool:a {}\nsleep:20\nsleep:5\ntool:b {}\nfail")

    assert [(step.thought, step.sleep_ms) for step in script.steps] == [("first", 0), ("echo", 25)]
    assert script.answer.flags == {"fail"}


def test_as_many_steps_are_over_as_the_assistant_spoke_since_the_user_did() -> None:
    script = parse("tool:a {}\n\ntool:b {}")
    user, said, result = Message("user", ""), Message("assistant", ""), Message("tool", "")

    played = [
        script.step(messages)
        for messages in (
            [said, user],
            [user, said, result],
            [user, said, result, said, result],
            [user, said, said, said],
        )
    ]

    assert played == [*script.steps, script.answer, script.answer]


@pytest.mark.parametrize("line", ["tool:a {", "tool:a NaN", "sleep:soon", "tool: {}", "tokens:-1"])
def test_what_does_not_parse_is_answer(line: str) -> None:
    script = parse(line)

    assert (script.text, script.steps) == (line, [])


def test_deeply_nested_input_is_answer_and_no_crash() -> None:
    line = "tool:a " + "[" * 100_000

    assert parse(line).text == line


def test_sleep_is_bounded() -> None:
    assert parse("sleep:500000\nsleep:500000").answer.sleep_ms == MAX_SLEEP_MS


def test_tokens_are_words_with_their_space_and_lose_nothing() -> None:
    text = " a  bc\nd "

    assert split(text) == [" ", "a  ", "bc\n", "d "]
    assert "".join(split(text)) == text


def test_counted_tokens_are_made_when_they_are_looked_at() -> None:
    tokens = Counted(1_000_000)

    assert (len(tokens), tokens[0], tokens[999_999]) == (1_000_000, "tok1 ", "tok1000000")
    assert "".join(Counted(3)[0:]) == "tok1 tok2 tok3"
