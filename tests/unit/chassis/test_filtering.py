"""Filters as AIP-160 has them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import InvalidArgument
from services.chassis.eventlog.port import Compare, Condition, Every, Not, Some
from services.chassis.filtering import Fields, condition, written

FIELDS = Fields({"status", "cost", "is_late", "create_time"}, ("labels.",))
RUNNING = Compare("status", "=", "running")
CHEAP = Compare("cost", "<", 2.0)
LATE = Compare("is_late", "=", True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("  ", None),
        ("status = running", RUNNING),
        ('status="running"', RUNNING),
        ("status = 'running'", RUNNING),
        ("cost<2", CHEAP),
        ("cost >= -1.5", Compare("cost", ">=", -1.5)),
        ("is_late = true", LATE),
        ('is_late = "true"', Compare("is_late", "=", "true")),
        ("labels.team != search", Compare("labels.team", "!=", "search")),
        (r'status = "a \"b\" \\ c"', Compare("status", "=", 'a "b" \\ c')),
        ("create_time > 2026-01-02T03:04:05Z", Compare("create_time", ">", "2026-01-02T03:04:05Z")),
        ("status = running AND cost < 2", Every([RUNNING, CHEAP])),
        ("status = running cost < 2", Every([RUNNING, CHEAP])),
        ("NOT status = running", Not(RUNNING)),
        ("-status = running", Not(RUNNING)),
        ("NOT (status = running)", Not(RUNNING)),
        (
            "status = running AND cost < 2 OR is_late = true",  # OR binds tighter.
            Every([RUNNING, Some([CHEAP, LATE])]),
        ),
        (
            "(status = running AND cost < 2) OR is_late = true",
            Some([Every([RUNNING, CHEAP]), LATE]),
        ),
    ],
)
def test_a_filter_means_what_the_standard_says(text: str, expected: Condition | None) -> None:
    assert condition(text, FIELDS) == expected


@pytest.mark.parametrize(
    "text",
    [
        "status",
        "status =",
        "= running",
        "status = running AND",
        "status = AND",
        "AND status = running",
        "(status = running",
        "status = running)",
        "owner = me",
        "labels. = x",
        "status ~ running",
        'status = "running',
        "(" * 20 + "status = x" + ")" * 20,
        " ".join(["status = x"] * 65),
        "status = " + "x" * 2_000,
    ],
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        condition(text, FIELDS)

    assert caught.value.reason == "FILTER_INVALID"
    assert caught.value.metadata["field"] == "filter"
    assert caught.value.metadata["suggested_fix"]


@given(st.text(max_size=60) | st.text("status=<>!()\"' ANDORNOT-.\\", max_size=60))
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    with suppress(InvalidArgument):
        condition(text, FIELDS)


WORDED = Fields({"kind"}, (), {"kind": written("KIND_", ("http", "mcp"))})


@pytest.mark.parametrize("text", ["kind = http", 'kind = "http"', "kind = KIND_HTTP"])
def test_a_value_of_an_enum_is_written_as_answers_have_it_or_short(text: str) -> None:
    assert condition(text, WORDED) == Compare("kind", "=", "http")


@pytest.mark.parametrize("value", ["banana", "HTTP", "KIND_http", "true", "3", '""'])
def test_a_value_that_a_field_never_has_is_refused(value: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        condition(f"kind = {value}", WORDED)

    assert caught.value.reason == "FILTER_INVALID"
    assert caught.value.metadata["suggested_fix"] == "use one of http, mcp"
