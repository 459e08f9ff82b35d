"""How the text of a large value is read in parts."""

import json
from dataclasses import replace

import pytest

from services.chassis.errors import NotFound
from services.orchestrator.domain.large import (
    JSON,
    TEXT,
    Large,
    bytes_for,
    fitting,
    part,
)
from services.orchestrator.domain.prompt import EXCERPT_CHARACTERS, Briefing, conversation
from services.orchestrator.domain.references import find, readable
from services.orchestrator.domain.task import Call, State, Step, Task
from tests.unit.orchestrator import fakes

WORDS = "één woord, Ελλάδα, 漢字, 🙂🙃, plain; " * 40
LARGE = Large("ab" * 32, 100_000, JSON, '{"rows": ["' + "\n\x01é" * 2000)
ANSWER = Large("cd" * 32, 70_000, TEXT, "It is")
TASK = Task(
    fakes.SPEC,
    State.RUNNING,
    5,
    fakes.NOW,
    fakes.NOW,
    fakes.NOW,
    (
        Step("a", (Call("call_1", "look", {}, output=LARGE, latency_ms=1.0),)),
        Step("b", (Call("call_2", "look", {}, output={"small": 1}, latency_ms=1.0),)),
    ),
)


def read(text: str, offset: int, length: int) -> tuple[str, int | None]:
    """A part of a text, as one that reads it piece by piece gets it."""
    whole = text.encode()
    found = part(whole[offset : offset + bytes_for(length)], offset, length, len(whole))
    return found.text, found.next_offset


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 7, 64, 1000, 100_000])
def test_the_parts_of_a_text_one_after_the_other_are_the_text(length: int) -> None:
    texts, offset = [], 0
    while offset is not None:
        text, offset = read(WORDS, offset, length)
        texts.append(text)

    assert "".join(texts) == WORDS
    assert all(len(text.encode()) <= max(length, 4) for text in texts)


@pytest.mark.parametrize("offset", range(1, 5))
def test_an_offset_within_a_character_counts_as_the_next_ones(offset: int) -> None:
    assert read("🙂abc", offset, 10) == ("abc", None)


@pytest.mark.parametrize(("text", "offset"), [("", 0), ("abc", 3), ("🙂", 4)])
def test_at_the_end_there_is_nothing_more(text: str, offset: int) -> None:
    assert read(text, offset, 10) == ("", None)


@pytest.mark.parametrize("text", ["", "plain", '"' * 500, "\x00" * 500, "é\n" * 500, "🙂" * 99])
def test_what_fits_is_a_beginning_that_takes_no_more_as_json(text: str) -> None:
    fits = fitting(text, 50)

    assert text.startswith(fits)
    assert len(json.dumps(fits, ensure_ascii=False)) <= 50
    assert fits == text or fits


def test_large_results_are_known_by_their_calls_and_large_texts_by_their_fields() -> None:
    asked = replace(TASK, spec=replace(fakes.SPEC, large=(("query", ANSWER),)))

    assert readable(TASK) == {"call_1": LARGE}
    assert readable(asked) == {"query": ANSWER, "call_1": LARGE}


@pytest.mark.parametrize("large", [LARGE, ANSWER])
def test_a_large_value_is_found_by_its_hash(large: Large) -> None:
    assert find(replace(TASK, output=ANSWER), large.sha256) == large


def test_a_hash_that_a_task_does_not_refer_to_is_not_found() -> None:
    with pytest.raises(NotFound) as caught:
        find(TASK, ANSWER.sha256)

    assert caught.value.reason == "OBJECT_NOT_FOUND"


def test_a_model_is_shown_a_beginning_and_where_to_read_on() -> None:
    tools = (fakes.tool(),)
    shown = conversation(fakes.SPEC, Briefing(tools), TASK.steps)[-3]
    told = json.loads(shown.content)

    assert shown.role == "tool"
    assert len(shown.content) <= EXCERPT_CHARACTERS
    assert LARGE.excerpt.startswith(told["text"])
    assert told["next_offset"] == len(told["text"].encode())
    assert (told["of"], told["size_bytes"]) == ("call_1", 100_000)
