"""Messages as JSON Schemas: what they let through, the message takes."""

import asyncio
import json
from datetime import UTC, datetime

import pytest
from google.protobuf.descriptor_pb2 import (
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from google.protobuf.descriptor_pool import DescriptorPool
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import InvalidArgument
from services.chassis.schema import Schema
from services.tool_registry.adapters.grpc.messages import Messages
from services.tool_registry.adapters.grpc.methods import found, needed, parsed
from services.tool_registry.adapters.grpc.schema import comments_of, input_schema, output_schema
from tests.servers.grpc_service import SERVICE, compiled

FILES = needed(parsed(compiled(), field="set"), SERVICE, field="set")
ECHO = found(FILES, f"{SERVICE}/Echo", field="set")
COMMENTS = comments_of(FILES)
INPUT = Schema(input_schema(ECHO.request, COMMENTS), field="input")
OUTPUT = Schema(output_schema(ECHO.response, COMMENTS), field="output")
MESSAGES = Messages(ECHO, max_bytes=1_000_000)

SIGNED, UNSIGNED = 2**63 - 1, 2**64 - 1
ANY_NODE = "type.googleapis.com/places.v1.Node"
NOWHERE = {"name": "", "latitude": 0.0, "longitude": 0.0, "height": 0}


def echoed(value: dict[str, object]) -> dict[str, object]:
    """What comes back of a value that is sent; it has to satisfy the output schema."""

    async def there_and_back() -> object:
        return await MESSAGES.decoded(await MESSAGES.encoded(value), "echo")

    back = asyncio.run(there_and_back())
    assert OUTPUT.violations(back) == []
    assert isinstance(back, dict)
    return back


@pytest.mark.parametrize(
    ("sent", "back"),
    [
        ({"an_int32": -(2**31)}, {"an_int32": -(2**31)}),
        ({"a_uint32": 2**32 - 1}, {"a_uint32": 2**32 - 1}),
        ({"an_int64": 7}, {"an_int64": "7"}),
        ({"an_int64": str(-SIGNED - 1)}, {"an_int64": str(-SIGNED - 1)}),
        ({"a_uint64": str(UNSIGNED)}, {"a_uint64": str(UNSIGNED)}),
        ({"a_sfixed64": str(SIGNED)}, {"a_sfixed64": str(SIGNED)}),
        ({"a_float": 0.1}, {"a_float": 0.1}),
        ({"a_double": 1e300}, {"a_double": 1e300}),
        ({"a_bool": True}, {"a_bool": True}),
        ({"a_string": "ü"}, {"a_string": "ü"}),
        ({"a_bytes": "-_8"}, {"a_bytes": "+/8="}),
        ({"a_colour": "COLOUR_BLUE"}, {"a_colour": "COLOUR_BLUE"}),
        ({"maybe": 0}, {"maybe": 0}),
        ({"numbers": [1, "2"]}, {"numbers": ["1", "2"]}),
        ({"prices": {"tea": 1.5}}, {"prices": {"tea": 1.5}}),
        ({"colours": {"-3": "COLOUR_RED"}}, {"colours": {"-3": "COLOUR_RED"}}),
        ({"answers": {"true": "yes"}}, {"answers": {"true": "yes"}}),
        ({"places": {"5": {"name": "a"}}}, {"places": {"5": {**NOWHERE, "name": "a"}}}),
        ({"that": 0}, {"that": 0}),
        ({"at": "2026-04-20T07:00:00+02:00"}, {"at": "2026-04-20T05:00:00Z"}),
        ({"lasting": "-1.5s"}, {"lasting": "-1.500s"}),
        ({"mask": "aName,id"}, {"mask": "aName,id"}),
        ({"object": {"a": [None, 1]}}, {"object": {"a": [None, 1]}}),
        ({"any_json": None}, {"any_json": None}),
        ({"list": [1, "a", {}]}, {"list": [1, "a", {}]}),
        ({"nothing": None}, {"nothing": None}),
        ({"nothings": ["NULL_VALUE"]}, {"nothings": [None]}),
        ({"empty": {}}, {"empty": {}}),
        ({"any": {"@type": ANY_NODE, "label": "a"}}, {}),
        ({"wrapped_int64": 0}, {"wrapped_int64": "0"}),
        ({"wrapped_bool": False}, {"wrapped_bool": False}),
        ({"wrapped_bytes": ""}, {"wrapped_bytes": ""}),
        ({"wrapped_double": 2}, {"wrapped_double": 2}),
        ({"inner": {"depth": 3}}, {"inner": {"depth": 3}}),
        ({"neither": {}}, {"neither": NOWHERE}),
    ],
)
def test_each_form_of_json_is_taken_and_given_back(
    sent: dict[str, object], back: dict[str, object]
) -> None:
    assert INPUT.violations(sent) == []
    given_back = echoed(sent)

    assert {name: given_back[name] for name in back} == back


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"unknown": 1}, "input.unknown"),
        ({"an_int32": 2**31}, "input.an_int32"),
        ({"an_int32": 1.5}, "input.an_int32"),
        ({"an_int32": "1"}, "input.an_int32"),
        ({"a_uint32": -1}, "input.a_uint32"),
        ({"an_int64": "seven"}, "input.an_int64"),
        ({"a_uint64": "-1"}, "input.a_uint64"),
        ({"a_float": 1e39}, "input.a_float"),
        ({"a_bool": "true"}, "input.a_bool"),
        ({"a_string": None}, "input.a_string"),
        ({"a_bytes": "!"}, "input.a_bytes"),
        ({"a_colour": "COLOUR_GREEN"}, "input.a_colour"),
        ({"numbers": 1}, "input.numbers"),
        ({"numbers": [None]}, "input.numbers[0]"),
        ({"colours": {"red": "COLOUR_RED"}}, "input.colours"),
        ({"answers": {"maybe": "x"}}, "input.answers"),
        ({"this": "a", "that": 1}, "input.that"),
        ({"at": "yesterday"}, "input.at"),
        ({"at": "2026-04-20t05:00:00z"}, "input.at"),
        ({"at": "2026-02-30T05:00:00Z"}, "input.at"),
        ({"lasting": "1.5"}, "input.lasting"),
        ({"mask": "a_name"}, "input.mask"),
        ({"empty": {"a": 1}}, "input.empty"),
        ({"any": {"label": "a"}}, "input.any.@type"),
        ({"inner": {"depth": "x"}}, "input.inner.depth"),
    ],
)
def test_what_the_message_would_not_take_is_refused_with_its_field(
    value: dict[str, object], field: str
) -> None:
    first = INPUT.violations(value)[0]

    assert first.field == field


@pytest.mark.parametrize(
    "value",
    [
        {"an_int64": str(SIGNED + 1)},
        {"a_uint64": str(UNSIGNED + 1)},
        {"at": "0000-04-20T05:00:00Z"},
        {"lasting": "999999999999s"},
        {"a_bytes": "A"},
        {"any": {"@type": "type.googleapis.com/places.v1.Nothing"}},
    ],
)
def test_what_a_schema_cannot_say_in_short_the_message_refuses(value: dict[str, object]) -> None:
    assert INPUT.violations(value) == []
    with pytest.raises(InvalidArgument) as caught:
        echoed(value)

    assert caught.value.reason == "TOOL_INPUT_INVALID"
    assert caught.value.metadata["field"] == "input"


INTEGERS = st.integers(-SIGNED - 1, SIGNED)
PLACES = st.fixed_dictionaries({}, optional={"name": st.text(max_size=5), "height": st.just(-1)})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
TIMES = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "an_int32": st.integers(-(2**31), 2**31 - 1),
        "an_int64": st.integers(-(2**53), 2**53) | INTEGERS.map(str),
        "a_uint64": st.integers(0, UNSIGNED).map(str),
        "a_float": st.floats(width=32, allow_nan=False, allow_infinity=False),
        "a_double": st.floats(allow_nan=False, allow_infinity=False),
        "a_string": st.text(max_size=20),
        "a_colour": st.sampled_from(["COLOUR_UNSPECIFIED", "COLOUR_RED", "COLOUR_BLUE"]),
        "numbers": st.lists(INTEGERS.map(str), max_size=3),
        "prices": st.dictionaries(st.text(max_size=5), st.floats(-1e9, 1e9), max_size=3),
        "colours": st.dictionaries(
            st.integers(-(2**31), 2**31 - 1).map(str), st.just("COLOUR_RED"), max_size=3
        ),
        "places": st.dictionaries(st.integers(0, UNSIGNED).map(str), PLACES, max_size=2),
        "neither": PLACES,
        "at": TIMES.map(lambda time: time.isoformat()),
        "lasting": st.integers(-315_576_000_000, 315_576_000_000).map(lambda n: f"{n}s"),
        "mask": st.from_regex(r"\A([a-z]+([A-Z][a-z]+)?)(,[a-z]+)*\Z"),
        "object": st.dictionaries(st.text(max_size=5), JSON, max_size=3),
        "any_json": JSON,
        "list": st.lists(JSON, max_size=3),
        "wrapped_int64": INTEGERS.map(str),
    },
)


@given(VALUES)
def test_what_the_schema_lets_through_the_message_takes(value: dict[str, object]) -> None:
    assert INPUT.violations(value) == []
    back = echoed(value)

    assert back.keys() >= value.keys()


def test_what_comes_back_can_be_sent_again() -> None:
    sent = {"an_int64": "5", "numbers": ["1"], "at": "2026-04-20T05:00:00Z", "a_bytes": "+/8="}
    back = {name: value for name, value in echoed(sent).items() if name in sent}

    assert INPUT.violations(back) == []
    assert back == sent


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_numbers_without_end_come_back_as_text(text: str) -> None:
    raw = ECHO_CLASS(a_double=float(text)).SerializeToString()
    back = asyncio.run(MESSAGES.decoded(raw, "echo"))

    assert OUTPUT.violations(back) == []
    assert isinstance(back, dict)
    assert back["a_double"] == text


def test_a_value_that_the_enum_does_not_have_comes_back_as_a_number() -> None:
    raw = ECHO_CLASS(a_colour=99).SerializeToString()
    back = asyncio.run(MESSAGES.decoded(raw, "echo"))

    assert OUTPUT.violations(back) == []
    assert isinstance(back, dict)
    assert back["a_colour"] == 99


def test_comments_are_descriptions() -> None:
    place = found(FILES, f"{SERVICE}/GetPlace", field="set")
    asked = input_schema(place.request, COMMENTS)
    answered = output_schema(place.response, COMMENTS)

    assert asked["description"] == "Asks for a place."
    assert asked["properties"] == {
        "name": {"type": "string", "description": "What the place is called, such as Lisbon."}
    }
    assert '"In metres."' in json.dumps(answered)


def test_a_message_that_is_no_object_is_sent_as_a_value() -> None:
    shout = found(FILES, f"{SERVICE}/Shout", field="set")

    assert input_schema(shout.request, {}) == {
        "type": "object",
        "properties": {"value": {"type": "string"}},
        "required": ["value"],
        "additionalProperties": False,
    }
    assert output_schema(shout.response, {}) == {"type": "string"}


def test_a_tree_of_messages_is_a_recursive_schema() -> None:
    grow = found(FILES, f"{SERVICE}/Grow", field="set")
    schema = Schema(input_schema(grow.request, COMMENTS), field="input")
    tree = {"label": "root", "children": [{"children": [{"label": "leaf", "children": []}]}]}

    assert schema.document["description"] == "A tree."
    assert schema.violations(tree) == []
    assert schema.violations({"children": [{"children": [{"label": 1}]}]})


def test_source_info_that_points_nowhere_is_passed_over() -> None:
    file = FileDescriptorSet.FromString(compiled()).file[-1]
    for location in file.source_code_info.location:
        location.path.extend([3, 99, 2, 99])

    assert set(comments_of([file])) <= set(COMMENTS)


ECHO_CLASS = MESSAGES._response


@pytest.mark.parametrize("count", [400, 5_000])
def test_a_oneof_of_many_fields_is_stopped_while_its_schema_is_made(count: int) -> None:
    file = FileDescriptorProto(name="wide.proto", package="wide", syntax="proto3")
    message = file.message_type.add(name="Wide")
    message.oneof_decl.add(name="one")
    for number in range(1, count + 1):
        message.field.add(
            name=f"f{number}",
            number=number,
            type=FieldDescriptorProto.TYPE_BOOL,
            label=FieldDescriptorProto.LABEL_OPTIONAL,
            oneof_index=0,
        )
    pool = DescriptorPool()
    pool.Add(file)
    wide = pool.FindMessageTypeByName("wide.Wide")

    with pytest.raises(InvalidArgument) as caught:
        input_schema(wide, {})

    assert caught.value.reason == "SCHEMA_INVALID"
    assert "has more than 65,536 bytes" in caught.value.message
