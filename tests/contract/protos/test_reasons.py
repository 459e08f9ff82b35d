"""Reasons of errors are part of the contract."""

import pytest

from tests.contract.protos.reasons import NAME, VARIABLE, given, listed, listed_before, lost


@pytest.mark.parametrize(("reason", "file"), sorted(given().items()))
def test_every_reason_in_the_code_is_listed_and_well_formed(reason: str, file: str) -> None:
    assert reason in listed(), f"{file} gives it; add it to reasons.txt"
    assert NAME.fullmatch(reason)
    assert len(reason) <= 63


def test_no_reason_is_listed_twice() -> None:
    assert len(listed()) == len(set(listed()))


def test_the_scan_finds_what_it_should() -> None:
    assert {"SEQUENCE_CONFLICT", "PAGE_TOKEN_INVALID", "INVALID_REQUEST"} <= given().keys()


def test_no_variable_or_value_is_listed_as_a_reason() -> None:
    assert not list(filter(VARIABLE.match, listed()))


def test_a_reason_once_listed_stays_as_it_is() -> None:
    assert lost(listed_before(), listed()) == []


@pytest.mark.parametrize(
    ("now", "missed"),
    [
        (["A_A", "B_B"], []),
        (["A_A", "B_B", "C_C"], []),
        (["A_A"], ["B_B"]),
        (["A_A", "C_C"], ["B_B"]),
        (["C_C", "A_A", "B_B"], ["A_A", "B_B"]),
        ([], ["A_A", "B_B"]),
    ],
)
def test_a_lost_reason_is_seen(now: list[str], missed: list[str]) -> None:
    assert lost(["A_A", "GRPC_EXPERIMENTS", "B_B"], now) == missed
