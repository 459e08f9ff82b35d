"""What a workflow may keep."""

from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct

from services.chassis import structs
from services.workflow.domain.data import FIXES, MAX_BYTES, fault, is_large, merged


def nested(levels: int, leaf: object = 1) -> dict[str, Any]:
    """Objects and lists in turn, so many levels of them, the outermost an object."""
    made: object = leaf
    for level in range(levels, 1, -1):
        made = {"a": made} if level % 2 else [made]
    return {"a": made}


def test_a_patch_replaces_members_and_null_removes_them() -> None:
    data = {"a": 1, "b": {"c": 2, "d": 3}, "e": [1, 2]}

    assert merged(data, {"a": None, "b": {"c": None, "x": {"y": None}}, "e": [3]}) == {
        "b": {"d": 3, "x": {}},
        "e": [3],
    }


def test_a_patch_changes_nothing_in_place() -> None:
    data = {"b": {"c": 2}}
    merged(data, {"b": {"c": 3}})

    assert data == {"b": {"c": 2}}


@pytest.mark.parametrize("leaf", [1, {}, []], ids=str)
@pytest.mark.parametrize("levels", range(27, 34))
def test_what_is_kept_is_what_goes_over_the_wire(levels: int, leaf: object) -> None:
    data = nested(levels, leaf)
    try:
        structs.from_dict(data, Struct())
        goes = True
    except structs.InvalidArgument:
        goes = False

    assert (fault(data) is None) == goes


@pytest.mark.parametrize(
    "value",
    [2**53 + 1, -(2**53) - 1, 1e300, float("nan"), float("inf"), "\ud800", [0] * 100_001],
    ids=lambda value: str(type(value)),
)
def test_what_json_blurs_is_not_kept(value: object) -> None:
    assert fault({"a": [value]}) in FIXES


@pytest.mark.parametrize("value", [2**53, 1.5, 1e15, True, None, "\u20ac", 5e-324])
def test_what_json_has_is_kept(value: object) -> None:
    assert fault({"a": [value]}) is None


def test_the_size_is_that_of_the_json() -> None:
    fits = {"a": "x" * (MAX_BYTES - len('{"a": ""}'))}

    assert fault(fits) is None
    assert fault({"a": fits["a"] + "x"}) in FIXES


def test_no_depth_is_too_much_to_be_refused() -> None:
    assert fault(nested(100_000)) in FIXES


@pytest.mark.parametrize(
    ("value", "so"),
    [
        ({"a": [1, 2, {"b": "c"}]}, False),
        (["x" * 1_000] * 10, False),
        ("x" * 40_000, True),
        ([1] * 3_000, True),
        ({str(n): n for n in range(3_000)}, True),
        ([[[1] * 90] * 90], True),
    ],
)
def test_what_is_large_is_told_from_what_is_not(value: object, so: bool) -> None:
    assert is_large(value) is so
