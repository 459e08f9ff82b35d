"""Texts of definitions as plain values, with places, and nothing that JSON lacks."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.documents.places import MAX_BYTES, MAX_DEPTH, MAX_NODES, Unreadable
from services.chassis.documents.reading import plain, read
from services.workflow.domain.language import outcome

WHOLE = st.integers(-(2**53), 2**53)
SCALARS = st.none() | st.booleans() | WHOLE | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    SCALARS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def refused(source: Any) -> Any:
    with pytest.raises(Unreadable) as caught:
        read(source) if isinstance(source, str | bytes) else plain(source)
    return caught.value.problem


def test_words_that_old_yaml_takes_for_truth_values_are_texts() -> None:
    found = read("on: [on, off, yes, no, y, n]\nno: {yes: 2026-01-02}\n")

    assert found.value == {
        "on": ["on", "off", "yes", "no", "y", "n"],
        "no": {"yes": "2026-01-02"},
    }


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("true", True),
        ("~", None),
        ("", None),
        ("null", None),
        ("'5'", "5"),
        ('"true"', "true"),
        ("!!str 5", "5"),
        ("02134", "02134"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        (".inf", ".inf"),
        ("٣", "٣"),
    ],
)
def test_scalars_are_what_json_would_have(written: str, value: object) -> None:
    found = read(f"a: {written}\n").value["a"]

    assert (found, type(found)) == (value, type(value))


def test_every_value_knows_its_line_and_column() -> None:
    found = read("name: x\nstates:\n  - a\n  - {b: true, ü: [c]}\n")

    places = {path: found.place(path) for path in ("name", "states[1].b", "states[1].ü[0]")}
    assert places == {"name": (1, 7), "states[1].b": (4, 9), "states[1].ü[0]": (4, 19)}
    assert found.place("states[1].ü", of_key=True) == (4, 15)
    assert found.place("states[1].missing.more") == (4, 5)


def test_how_a_name_was_written_is_kept() -> None:
    assert read("[true, 7, x]").written == {"[0]": "true", "[1]": "7"}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: &x 1", (1, 4)),
        ("a: 1\nb: *x", (2, 4)),
        ("a: &a [*a, *a]", (1, 4)),
        ("a: 1\n\na: 2", (3, 1)),
        ('{"a": {"b": 1, "b": 2}}', (1, 16)),
        ("a: 1\n---\nb: 2", (2, 1)),
        ("a: !!python/object/apply:os.system [ls]", (1, 4)),
        ("a: !!binary aGk=", (1, 4)),
        ("a: !mine x", (1, 4)),
        ("? [a]\n: b", (1, 3)),
        ("a: 1\nb: 9007199254740993", (2, 4)),
        ("a: 1e999", (1, 4)),
        ("a: [1", (1, 6)),
        ("a: 1\n b: 2", (2, 3)),
        ("a: 1\nb: \x00", (2, 4)),
        ("a: '\ud800'", (1, 5)),
        (b"a: 1\nb: \xff", (2, 4)),
        ("", (1, 1)),
        ("# nothing", (1, 1)),
        ("[" * (MAX_DEPTH + 2), (1, MAX_DEPTH + 2)),
        (" " * (MAX_BYTES + 1), (1, 1)),
    ],
)
def test_what_is_more_than_json_is_refused_where_it_stands(
    text: str | bytes, place: tuple[int, int]
) -> None:
    problem = refused(text)

    assert (problem.line, problem.column) == place
    assert problem.message
    assert problem.suggested_fix


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "- " * 50_000, "{a: " * 20_000, "a: [" + "1," * MAX_NODES + "]"]
)
def test_deep_and_wide_texts_are_refused(text: str) -> None:
    assert refused(text).line == 1


@pytest.mark.parametrize(
    "value",
    [
        {"a": math.nan},
        {"a": 2**53 + 1},
        {"a": "\ud800"},
        {1: "a"},
        {"a": b"bytes"},
        {"a": ["x" * MAX_BYTES]},
        {"a": [0] * MAX_NODES},
    ],
)
def test_objects_that_are_no_json_or_large_are_refused(value: object) -> None:
    assert refused(value).message


def test_json_with_what_yaml_has_no_place_for_is_read() -> None:
    assert read('{"a": "\\ud83d\\ude00"}').value == {"a": "😀"}


@given(st.text() | st.binary() | st.text("ab:- \n[]{}&*!|>'\"#?,%~1.", max_size=40))
def test_any_text_is_read_or_refused_with_a_place(text: str | bytes) -> None:
    try:
        found = read(text)
    except Unreadable as error:
        assert error.problem.line or text.lstrip()[:1] in ("{", b"{")  # noqa: PT017
    else:
        json.dumps(found.value, allow_nan=False).encode()


@given(JSON)
def test_what_json_says_is_read_as_it_stands(value: object) -> None:
    assert read(json.dumps({"a": value})).value == plain({"a": value}).value == {"a": value}


def test_a_template_without_quotes_is_told_to_have_them() -> None:
    found = outcome("name: x\nstate_machine: {a: {on_enter: [{tool: t, input: {n: ${data.n}}}]}}")

    assert [each.suggested_fix for each in found.problems] == ['put "${…}" into quotes']
    assert not found.problems[0].field.endswith(".")
