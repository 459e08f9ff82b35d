"""Struct and Value to and from plain Python."""

import math

import pytest
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from services.chassis import structs
from services.chassis.errors import InvalidArgument

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(-1e9, 1e9).map(lambda x: x + 0.5 if x.is_integer() else x)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


def nested(levels: int) -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def fault(action: object) -> dict[str, str]:
    with pytest.raises(InvalidArgument) as caught:
        action()  # type: ignore[operator]
    assert caught.value.reason == "INVALID_REQUEST"
    return caught.value.metadata


@settings(max_examples=50)
@given(st.dictionaries(st.text(), JSON))
def test_what_goes_in_comes_out(members: dict[str, object]) -> None:
    assert structs.to_dict(structs.from_dict(members, Struct())) == members


@given(JSON)
def test_a_value_survives_the_wire(value: object) -> None:
    sent = structs.from_value(value, Value())

    assert structs.to_value(Value.FromString(sent.SerializeToString())) == value


@settings(max_examples=50)
@given(st.dictionaries(st.text(), JSON))
def test_it_agrees_with_the_library_of_protobuf(members: dict[str, object]) -> None:
    assert json_format.MessageToDict(structs.from_dict(members, Struct())) == members


def test_doubles_without_a_fraction_become_integers() -> None:
    value = structs.to_value(Value(number_value=84.0))

    assert (type(value), value) == (int, 84)


def test_booleans_stay_booleans() -> None:
    assert structs.to_value(structs.from_value(True, Value())) is True


def test_empty_objects_and_lists_are_kept() -> None:
    members: dict[str, object] = {"object": {}, "list": [], "text": ""}

    assert structs.to_dict(structs.from_dict(members, Struct())) == members


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 2.0**53 + 2, 1e300])
def test_numbers_that_json_cannot_carry_are_refused_both_ways(number: float) -> None:
    struct = Struct()
    struct["a"] = {"b": [1, number]}

    assert fault(lambda: structs.to_dict(struct, field="input"))["field"] == "input.a.b[1]"
    assert (
        fault(lambda: structs.from_dict({"a": [number]}, Struct(), field="output"))["field"]
        == "output.a[0]"
    )


def test_the_largest_exact_integer_is_accepted() -> None:
    assert structs.to_value(structs.from_value(2**53, Value())) == 2**53


@pytest.mark.parametrize("number", [2**53 + 1, 10**400])
def test_integers_that_a_double_rounds_are_refused(number: int) -> None:
    assert fault(lambda: structs.from_value(number, Value(), field="x"))["field"] == "x"


def test_what_is_accepted_can_be_read_back_and_one_level_more_is_refused() -> None:
    struct = structs.from_dict(nested(structs.MAX_DEPTH), Struct())
    read = structs.to_dict(Struct.FromString(struct.SerializeToString()))
    deeper = nested(structs.MAX_DEPTH + 1)

    assert read == nested(structs.MAX_DEPTH)
    assert fault(lambda: structs.from_dict(deeper, Struct(), field="input"))["suggested_fix"]


def test_reading_refuses_depth_as_well() -> None:
    struct = Struct()
    inner = struct
    for _ in range(64):
        inner = inner.fields["a"].struct_value
    inner.SetInParent()

    assert fault(lambda: structs.to_dict(struct, field="input"))["field"].startswith("input.a.a")


def test_a_path_in_an_error_stays_short() -> None:
    deep: object = math.nan
    for _ in range(60):
        deep = {"x" * 1000: deep}

    assert len(fault(lambda: structs.from_value(deep, Value(), field="input"))["field"]) < 250


def test_too_many_values_are_refused_both_ways() -> None:
    crowded = Value()
    for _ in range(100_001):
        crowded.list_value.values.add(bool_value=True)

    assert fault(lambda: structs.to_value(crowded, field="input"))["field"] == "input"
    assert fault(lambda: structs.from_value([0] * 100_001, Value(), field="x"))["field"] == "x"


def test_an_unset_value_is_refused() -> None:
    assert fault(lambda: structs.to_value(Value(), field="input"))["field"] == "input"


@pytest.mark.parametrize("value", [{1}, b"x", object(), "\ud800", {"\ud800": 1}, {3: 1}])
def test_what_is_not_json_is_refused(value: object) -> None:
    assert fault(lambda: structs.from_dict({"a": value}, Struct(), field="input"))[
        "field"
    ].startswith("input.a")


def test_an_object_that_holds_itself_is_refused() -> None:
    members: dict[str, object] = {}
    members["me"] = members

    assert fault(lambda: structs.from_dict(members, Struct()))["field"].startswith("me.me")
