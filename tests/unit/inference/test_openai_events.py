"""Server-sent events in pieces of any size."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import Unavailable
from services.inference.engines.openai_http.events import Events

STREAM = b": hi\n\ndata: one\r\n\r\nevent: x\nid: 7\ndata:two\ndata: more\n\n\n\ndata: [DONE]\n\n"
FOUND = [b"one", b"two\nmore", b"[DONE]"]


def events(event_bytes: int = 100, answer_bytes: int = 1_000) -> Events:
    return Events(event_bytes=event_bytes, answer_bytes=answer_bytes)


def fed(reading: Events, stream: bytes) -> None:
    for place in range(0, len(stream), 7):
        reading.feed(stream[place : place + 7])


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_events_are_the_same_wherever_the_stream_is_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    reading = events()

    found = [data for part in pairwise(places) for data in reading.feed(STREAM[slice(*part)])]

    assert found == FOUND


def test_an_event_that_has_not_ended_is_none() -> None:
    assert events().feed(b"data: one\n") == []


@pytest.mark.parametrize(
    "stream",
    [b"data: " + b"x" * 100, b"data: x\n" * 60, b"x" * 101, b": " + b"c" * 100],
    ids=["a line", "lines", "no field", "a comment"],
)
def test_an_event_with_too_much_is_an_engine_that_failed(stream: bytes) -> None:
    reading = events(event_bytes=50)

    with pytest.raises(Unavailable) as caught:
        fed(reading, stream)

    assert caught.value.reason == "ENGINE_FAILED"


def test_an_answer_with_too_much_is_an_engine_that_failed() -> None:
    reading = events(answer_bytes=99)

    with pytest.raises(Unavailable) as caught:
        fed(reading, b"data: x\n\n\n" * 10)

    assert caught.value.reason == "ENGINE_FAILED"
