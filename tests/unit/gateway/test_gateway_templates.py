"""Path templates: what they parse to, and what their variables catch."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routes import Route, Router
from gateway.templates import Capture, captured, parse
from services.chassis.errors import InvalidArgument

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


def test_a_template_parses_to_segments_captures_and_a_verb() -> None:
    template = parse("/v1/{name=shelves/*}/books/{book_id}:cancel")

    assert template.segments == ("v1", "shelves", "*", "books", "*")
    assert template.captures == (Capture("name", 1, 3, False), Capture("book_id", 4, 5, True))
    assert template.verb == "cancel"


def test_a_double_star_takes_the_rest() -> None:
    template = parse("/v1/files/{path=**}:read")

    assert template.captures == (Capture("path", 2, None, False),)
    assert template.verb == "read"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v1/tasks",
        "/v1//tasks",
        "/v1/{",
        "/v1/{}",
        "/v1/{a}{b}",
        "/v1/{a=}",
        "/v1/{a={b}}",
        "/v1/{a=**}/b",
        "/v1/{a}/{a}",
        "/v1/tasks:",
        "/v1/tasks:a:b",
        "/v1/ta sks",
        "/v1/{Task}",
    ],
)
def test_a_template_outside_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="path template"):
        parse(text)


@given(TEXT)
def test_a_variable_gives_back_the_text_that_was_escaped(text: str) -> None:
    router = Router([Route("GET", parse("/v1/tasks/{task_id}"), "task")])

    found = router.find("GET", "/v1/tasks/" + quote(text, safe=""))

    assert found == ("task", {"task_id": text})


@given(st.lists(TEXT.filter(lambda text: "/" not in text), min_size=1, max_size=4))
def test_a_rest_gives_back_its_segments(parts: list[str]) -> None:
    router = Router([Route("GET", parse("/v1/{path=files/**}"), "file")])

    found = router.find("GET", "/v1/files/" + "/".join(quote(part, safe="") for part in parts))

    assert found == ("file", {"path": "/".join(["files", *parts])})


def test_among_segments_an_escaped_slash_stays_escaped() -> None:
    capture = parse("/v1/{path=**}").captures[0]

    assert captured(capture, ["v1", "a%2Fb", "c%20d"]) == "a%2Fb/c d"


@pytest.mark.parametrize("segment", ["%", "%4", "%zz", "%ff", "%C3", "a%C3%28"])
def test_escapes_that_are_no_text_are_refused(segment: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        captured(Capture("task_id", 0, 1, is_single=True), [segment])

    assert caught.value.metadata["field"] == "task_id"
