"""Units: conversion, spellings, and what is refused before pint sees it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.tool_registry.adapters.builtin.units import Units
from services.tool_registry.domain.tool import ToolFailure

REASONS = {"UNIT_INVALID", "UNIT_UNKNOWN", "UNITS_INCOMPATIBLE", "RESULT_TOO_LARGE"}


SHARED = Units()  # Making them takes half a second.


@pytest.fixture
def units() -> Units:
    """The units."""
    return SHARED


def failure(units: Units, value: float, source: str, target: str) -> ToolFailure:
    with pytest.raises(ToolFailure) as caught:
        units.convert(value, source, target)
    return caught.value


@pytest.mark.parametrize(
    ("value", "source", "target", "result"),
    [
        (1, "mile", "kilometer", 1.609344),
        (5, " km ", "m", 5000),
        (1, "KM", "Metres", 1000),
        (100, "celsius", "fahrenheit", 212),
        (100, "degC", "degF", 212),
        (-40, "°F", "° C", -40),
        (0, "celsius", "kelvin", 273.15),
        (60, "mph", "km/h", 96.56064),
        (60, "miles per hour", "kilometers per hour", 96.56064),
        (1, "m^2", "ft²", 10.7639104167),
        (1, "m**3", "liter", 1000),
        (3, "square feet", "square meters", 0.27870912),
        (1, "newton meter", "joule", 1),
        (1, "newton * meter", "J", 1),
        (9, "J/degF", "J/degC", 16.2),
        (1, "s**-1", "hertz", 1),
        (1, "GB", "MB", 1000),
        (50, "%", "dimensionless", 0.5),
        (10, "dBm", "mW", 10),
        (0, "meter", "foot", 0),
    ],
)
def test_it_converts(units: Units, value: float, source: str, target: str, result: float) -> None:
    assert units.convert(value, source, target) == pytest.approx(result, rel=1e-11, abs=1e-12)


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        ("kilometer", "second", "UNITS_INCOMPATIBLE"),
        ("meter", "square meter", "UNITS_INCOMPATIBLE"),
        ("C", "F", "UNITS_INCOMPATIBLE"),
        ("kilometr", "m", "UNIT_UNKNOWN"),
        ("m", "nonsense", "UNIT_UNKNOWN"),
        ("USD", "EUR", "UNIT_UNKNOWN"),
        ("kilocelsius", "K", "UNIT_UNKNOWN"),
        ("m**9", "m", "UNIT_INVALID"),
        ("square m**4", "m", "UNIT_INVALID"),
        ("m**0", "m", "UNIT_INVALID"),
        ("m**99999", "m", "UNIT_INVALID"),
        ("m/", "m", "UNIT_INVALID"),
        ("/m", "m", "UNIT_INVALID"),
        ("", "m", "UNIT_INVALID"),
        ("5 m", "m", "UNIT_INVALID"),
        ("m + m", "m", "UNIT_INVALID"),
        ("(m)", "m", "UNIT_INVALID"),
        ("__class__", "m", "UNIT_INVALID"),
        ("m;import os", "m", "UNIT_INVALID"),
        ("m*m*m*m*m*m*m", "m", "UNIT_INVALID"),
        ("x" * 64, "m", "UNIT_INVALID"),
    ],
)
def test_what_cannot_be_converted_has_a_reason_and_a_fix(
    units: Units, source: str, target: str, reason: str
) -> None:
    caught = failure(units, 1, source, target)

    assert caught.reason == reason
    assert caught.suggested_fix


def test_a_misspelt_unit_is_recognised(units: Units) -> None:
    assert failure(units, 1, "kilometr", "m").suggested_fix == "use kilometer"


def test_units_that_do_not_fit_are_told_by_their_dimensions(units: Units) -> None:
    message = failure(units, 1, "km/h", "kg").message

    assert "length * time**-1" in message
    assert "mass" in message


def test_single_letters_for_temperatures_are_explained(units: Units) -> None:
    assert failure(units, 37, "C", "F").suggested_fix == "for temperatures use degC and degF"


def test_results_beyond_exact_integers_are_refused(units: Units) -> None:
    assert failure(units, 9e15, "light_year", "nanometer").reason == "RESULT_TOO_LARGE"


@given(st.text("kmsCKF°²*/^ -+1234()_per%", max_size=64) | st.text(max_size=64))
@settings(max_examples=200, deadline=2000)
def test_any_text_converts_or_fails(text: str) -> None:
    try:
        SHARED.convert(1.0, text, "m")
        reason = ""
    except ToolFailure as caught:
        reason = caught.reason

    assert reason in {"", *REASONS}


@given(
    st.floats(-1e6, 1e6),
    st.sampled_from([("mile", "km"), ("degC", "degF"), ("lb", "kg"), ("mph", "m/s")]),
)
@settings(max_examples=100, deadline=2000)
def test_there_and_back_is_where_it_started(value: float, pair: tuple[str, str]) -> None:
    there = SHARED.convert(value, *pair)

    assert SHARED.convert(there, *reversed(pair)) == pytest.approx(value, rel=1e-8, abs=1e-6)
