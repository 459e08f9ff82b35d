"""JSON in its canonical form."""

import pytest

from services.chassis.canonical import canonical


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ({"b": 1, "a": [True, None, "ä"]}, '{"a":[true,null,"ä"],"b":1}'),
        ({"\ue000": 1, "\U00010000": 2}, '{"\U00010000":2,"\ue000":1}'),
        ([1.0, 1, 1e21, 0.1, -0.0], "[1,1,1e+21,0.1,0]"),
        ([2**53, -(2**53), 2**60], "[9007199254740992,-9007199254740992,1152921504606847000]"),
        ((1, (2,)), "[1,[2]]"),
        ({}, "{}"),
    ],
)
def test_what_is_equal_as_json_has_one_form(value: object, form: str) -> None:
    assert canonical(value).decode() == form


@pytest.mark.parametrize(
    "value", [2**53 + 1, float("nan"), [float("inf")], {"a": 2**2000}, "\ud800", {1: 2}, b"x"]
)
def test_what_json_has_not_has_no_form(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical(value)
