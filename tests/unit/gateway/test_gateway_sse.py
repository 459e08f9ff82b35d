"""How messages look in a stream, and which form a client gets."""

import pytest

from gateway.sse import NDJSON, SSE, Framing, framing
from services.chassis.errors import InvalidArgument


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", SSE),
        ("*/*", SSE),
        ("text/*", SSE),
        ("text/event-stream", SSE),
        ("application/json, text/plain, */*", SSE),
        ("application/x-ndjson", NDJSON),
        ("APPLICATION/X-NDJSON;q=0.5", NDJSON),
        ("text/event-stream;q=0.1, application/x-ndjson;q=0.9", NDJSON),
        ("application/x-ndjson;q=0, */*", SSE),
        ("application/json", NDJSON),
        ("application/json, text/html", NDJSON),
        ("application/json, text/event-stream;q=0.1", SSE),
    ],
)
def test_accept_chooses_the_framing(accept: str, expected: Framing) -> None:
    assert framing(accept) is expected


@pytest.mark.parametrize(
    "accept", ["application/json;q=0", "text/html", "*/*;q=0", "é", ";", "*/*;q=x"]
)
def test_what_fits_nothing_is_not_acceptable(accept: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        framing(accept)

    assert caught.value.reason == "NOT_ACCEPTABLE"


def test_an_event_has_type_sequence_and_json() -> None:
    assert SSE.message(("warning", 3, "{}")) == b"event: warning\nid: 3\ndata: {}\n\n"


def test_an_event_without_a_sequence_has_no_id_to_resume_by() -> None:
    assert SSE.message(("progress", None, "{}")) == b"event: progress\ndata: {}\n\n"


def test_a_type_that_is_no_name_cannot_add_lines() -> None:
    assert SSE.message(("a\ndata: b", 3, "{}")) == b"data: {}\n\n"


def test_a_line_is_the_json() -> None:
    assert NDJSON.message(("warning", 3, "{}")) == b"{}\n"
