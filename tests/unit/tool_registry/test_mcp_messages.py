"""What is seen of a message before it is parsed."""

import json

import pytest

from services.tool_registry.adapters.mcp.bounds import (
    ANSWER_BYTES,
    MAX_LINES,
    MAX_VALUES,
    MESSAGE_BYTES,
)
from services.tool_registry.adapters.mcp.messages import Events, excess, most_bytes


@pytest.mark.parametrize(
    ("request_", "most"),
    [
        ({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, MESSAGE_BYTES),
        ({"jsonrpc": "2.0", "id": 1, "method": "prompts/list", "params": {}}, MESSAGE_BYTES),
        ({"jsonrpc": "2.0", "id": 1, "method": "tools/call"}, ANSWER_BYTES),
        ({"id": 1, "method": "tools/call", "params": {"method": "tools/list"}}, ANSWER_BYTES),
        ({}, ANSWER_BYTES),
    ],
)
def test_pages_of_lists_may_be_larger_than_other_answers(request_: object, most: int) -> None:
    content = json.dumps(request_, separators=(",", ":")).encode()

    assert most_bytes(content) == most


@pytest.mark.parametrize(
    "values",
    [
        [[]] * (MAX_VALUES + 1),
        [{}] * (MAX_VALUES + 1),
        [1] * (MAX_VALUES + 2),
        ['"'] * (MAX_VALUES + 2),
        ["\\"] * (MAX_VALUES + 2),
        {str(number): 1 for number in range(MAX_VALUES + 2)},
        [["a", {"b": 1}]] * (MAX_VALUES // 2),
    ],
)
def test_many_values_are_too_many(values: object) -> None:
    assert "values" in excess(json.dumps(values).encode())


@pytest.mark.parametrize("text", [",[{" * MAX_VALUES, '",' * MAX_VALUES, '\\",[' * MAX_VALUES])
def test_what_stands_in_texts_are_no_values(text: str) -> None:
    assert excess(json.dumps([text, 1]).encode()) == ""


def test_many_bytes_are_too_many() -> None:
    assert excess(b"x" * 101, 100)
    assert not excess(b"x" * 100, 100)


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_events_are_cut_where_they_end(end: bytes, size: int) -> None:
    line = end[: len(end) // 2]
    stream = b"data: 1" + line + b"data: 2" + end + b"data: 3" + end + b"data: 4" + line

    events = Events(100)
    found = [
        event
        for at in range(0, len(stream), size)
        for event in events.ended(stream[at : at + size])
    ]

    assert b"".join(found) + events.rest == stream
    assert [each.strip() for each in found if each.strip()] == [
        b"data: 1" + line + b"data: 2",
        b"data: 3",
    ]


def test_an_event_that_grows_without_end_is_too_large() -> None:
    events = Events(100)

    assert events.ended(b"x" * 100) == []
    assert not events.growing

    events.ended(b"x")
    assert "bytes" in events.growing


def test_an_event_of_many_lines_is_too_large() -> None:
    lines = b":\n" * (MAX_LINES + 1)
    events, growing = Events(MESSAGE_BYTES), Events(MESSAGE_BYTES)
    (whole,) = events.ended(lines + b"\n")
    growing.ended(lines)

    assert "lines" in events.excess(whole)
    assert "lines" in growing.growing
