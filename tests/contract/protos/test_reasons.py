"""Reasons of errors are part of the contract."""

import pytest

from tests.contract.protos.reasons import NAME, given, listed


@pytest.mark.parametrize(("reason", "file"), sorted(given().items()))
def test_every_reason_in_the_code_is_listed_and_well_formed(reason: str, file: str) -> None:
    assert reason in listed(), f"{file} gives it; add it to reasons.txt"
    assert NAME.fullmatch(reason)
    assert len(reason) <= 63


def test_no_reason_is_listed_twice() -> None:
    assert len(listed()) == len(set(listed()))


def test_the_scan_finds_what_it_should() -> None:
    assert {"SEQUENCE_CONFLICT", "PAGE_TOKEN_INVALID", "INVALID_REQUEST"} <= given().keys()
