"""Versions, ranges, and which version of a line a caller gets."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.chassis import versions
from services.chassis.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from services.tool_registry.domain import version as ver
from services.tool_registry.domain.line import Deleted, Deprecated, Line, Registered, Updated
from tests.unit.tool_registry.fakes import entry

NOW = datetime(2026, 1, 2, tzinfo=UTC)
VERSIONS = st.from_regex(
    r"(0|[1-9][0-9]?)\.(0|[1-9][0-9]?)\.(0|[1-9][0-9]?)(-[ab](\.[0-9])?)?", fullmatch=True
)


def line(*versions: str, deprecated: str = "") -> Line:
    """A line of these versions, some of them deprecated."""
    made = Line("weather")
    for version in versions:
        kind = Updated if made.releases else Registered
        made = made.evolved(kind(entry(version=version)))
    for version in deprecated.split():
        made = made.evolved(Deprecated(NOW, version, "use another"))
    return made


def picked(of: Line, wanted: str) -> str | None:
    found = of.picked(versions.wanted(wanted))
    return found.version if found else None


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("", "2.1.0"),
        ("*", "2.1.0"),
        ("1.2.0", "1.2.0"),
        ("=1.2.0", "1.2.0"),
        ("v1.2.0", "1.2.0"),
        ("^1.2", "1.10.0"),
        ("~1.2", "1.2.3"),
        (">=1.2 <1.10", "1.2.3"),
        (">= 1.2  < 1.10", "1.2.3"),
        ("1.x", "1.10.0"),
        ("1", "1.10.0"),
        ("1.0.0 - 1.2", "1.2.3"),
        ("1.2.0 || 2.0.0", "2.0.0"),
        (">2.1.0", None),
        ("^3", None),
        ("3.0.0-beta.1", "3.0.0-beta.1"),
        (">=3.0.0-alpha", "3.0.0-beta.1"),
        ("1.2.1", None),
    ],
)
def test_a_range_picks_the_newest_that_it_allows(wanted: str, expected: str | None) -> None:
    of = line("1.0.0", "1.2.0", "1.2.3", "1.10.0", "2.0.0", "2.1.0", "3.0.0-beta.1")

    assert picked(of, wanted) == expected


def test_a_tool_with_nothing_but_pre_releases_answers_with_the_newest() -> None:
    of = line("1.0.0-alpha", "1.0.0-beta")

    assert (picked(of, ""), picked(of, "^1"), picked(of, "*")) == ("1.0.0-beta", None, None)


@pytest.mark.parametrize(
    ("deprecated", "wanted", "expected"),
    [
        ("1.1.0", "^1", "1.0.0"),
        ("2.0.0", "", "1.1.0"),
        ("2.0.0", "^2", "2.0.0"),
        ("2.0.0", "2.0.0", "2.0.0"),
        ("1.0.0 1.1.0", "^1", "1.1.0"),
        ("1.0.0 1.1.0 2.0.0", "", "2.0.0"),
    ],
)
def test_a_deprecated_version_is_picked_only_where_no_other_will_do(
    deprecated: str, wanted: str, expected: str
) -> None:
    assert picked(line("1.0.0", "1.1.0", "2.0.0", deprecated=deprecated), wanted) == expected


def test_build_metadata_makes_no_difference() -> None:
    of = line("1.0.0+linux")

    assert [picked(of, each) for each in ("1.0.0", "1.0.0+mac", "^1")] == ["1.0.0+linux"] * 3
    with pytest.raises(FailedPrecondition):
        of.check_next("1.0.0+mac")


@pytest.mark.parametrize(
    "text",
    [
        "latest",
        "1.2.3.4",
        "<*",
        "1.2.3-01",
        "^",
        "||||x.y",
        "1 - 2 - 3",
        "\u0661.\u0660.\u0660",
        "1.0.0\n",
        "1" * 65,
        ">=1 " * 20,
    ],
)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        versions.wanted(text)

    assert caught.value.metadata["field"] == "version"
    assert caught.value.metadata["suggested_fix"]


@given(st.text(max_size=70) | st.text("0123456789.xX*^~<>=|- vab+", max_size=70))
@example("1 - 2 - 3")
def test_any_text_is_a_range_or_refused(text: str) -> None:
    try:
        wanted = versions.wanted(text)
    except InvalidArgument:
        return

    assert wanted.allows("1.0.0") in {True, False}


@pytest.mark.parametrize(
    "text", ["", "1", "1.0", "^1.0.0", "v1.0.0", "1.0.0 ", "01.0.0", "\u0663.0.0"]
)
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        ver.check(text, "tool.version")

    assert caught.value.metadata["field"] == "tool.version"


@pytest.mark.parametrize(
    ("before", "corrected", "added", "broken"),
    [
        ("1.2.3", "1.2.4", "1.3.0", "2.0.0"),
        ("0.2.3", "0.2.4", "0.2.4", "0.3.0"),
        ("0.0.1", "0.0.2", "0.0.2", "0.1.0"),
        ("2.0.0-beta.1", "2.0.1", "2.1.0", "3.0.0"),
        ("1.0.0+a", "1.0.1", "1.1.0", "2.0.0"),
    ],
)
def test_the_next_version_says_what_changed(
    before: str, corrected: str, added: str, broken: str
) -> None:
    assert ver.after_correction(before) == corrected
    assert ver.after_addition(before) == added
    assert ver.after_break(before) == broken


@given(VERSIONS)
def test_made_versions_are_newer_and_keep_or_break_the_promise(text: str) -> None:
    for made in (ver.after_correction(text), ver.after_addition(text)):
        assert ver.is_newer(made, text)
        assert ver.is_bound(made, text)
    assert ver.is_newer(ver.after_break(text), text)
    assert not ver.is_bound(ver.after_break(text), text)


def test_versions_never_go_backwards_not_even_over_a_deletion() -> None:
    of = line("1.0.0", "1.2.0").evolved(Deleted(NOW))

    assert of.releases == ()
    with pytest.raises(FailedPrecondition) as caught:
        of.check_next("1.2.0")
    assert caught.value.reason == "TOOL_VERSION_NOT_NEWER"
    assert caught.value.metadata["field"] == "tool.version"
    of.check_next("1.2.1")


def test_a_name_in_use_is_taken() -> None:
    with pytest.raises(AlreadyExists) as caught:
        line("1.0.0").check_free()

    assert caught.value.reason == "TOOL_ALREADY_EXISTS"
    line("1.0.0").evolved(Deleted(NOW)).check_free()


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.3.0", "1.2.0"),
        ("1.3.0-beta", "1.2.0"),
        ("2.0.0", None),
        ("2.0.0-beta.2", None),
        ("0.2.1", "0.2.0"),
        ("0.3.0", None),
    ],
)
def test_a_version_is_bound_by_the_newest_release_of_its_major(
    version: str, expected: str | None
) -> None:
    bound = line("0.1.0", "0.2.0", "1.0.0", "1.2.0", "2.0.0-beta.1").bound_by(version)

    assert (bound.version if bound else None) == expected


def test_a_history_that_cannot_be_is_told() -> None:
    with pytest.raises(ValueError, match="Updated as event 1"):
        Line("weather").evolved(Updated(entry()))
    with pytest.raises(ValueError, match="Registered as event 2"):
        line("1.0.0").evolved(Registered(entry()))
