"""CloudEvents on a bus, against the examples of the specification and of its Kafka binding."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import InvalidArgument
from services.chassis.eventbus.cloudevents import CloudEvent, packed, unpacked
from services.chassis.eventbus.port import Message

# https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
BINARY = Message(
    "mytopic",
    "mykey",
    b'{"a": 1}',
    {
        "ce_specversion": "1.0",
        "ce_type": "com.example.someevent",
        "ce_source": "/mycontext/subcontext",
        "ce_id": "1234-1234-1234",
        "ce_time": "2018-04-05T03:56:24Z",
        "content-type": "application/json; charset=UTF-8",
    },
)
# https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
EXAMPLE = {
    "specversion": "1.0",
    "type": "com.example.someevent",
    "source": "/mycontext",
    "id": "A234-1234-1234",
    "time": "2018-04-05T17:31:00Z",
    "comexampleextension1": "value",
    "comexampleothervalue": 5,
}
MINIMAL = {"ce_specversion": "1.0", "ce_id": "1", "ce_source": "/s", "ce_type": "t"}


def structured(**more: object) -> Message:
    body = json.dumps({**EXAMPLE, **more}).encode()
    return Message("t", "k", body, {"content-type": "application/cloudevents+json; charset=UTF-8"})


def test_the_binary_example_of_the_kafka_binding_is_understood() -> None:
    event = unpacked(BINARY)

    assert event == CloudEvent(
        id="1234-1234-1234",
        source="/mycontext/subcontext",
        type="com.example.someevent",
        data=b'{"a": 1}',
        content_type="application/json; charset=UTF-8",
        time=datetime(2018, 4, 5, 3, 56, 24, tzinfo=UTC),
        key="mykey",
    )


def test_the_binary_example_is_packed_as_it_was() -> None:
    assert packed(unpacked(BINARY), "mytopic") == BINARY


def test_the_json_example_with_binary_data_is_understood() -> None:
    event = unpacked(
        structured(datacontenttype="application/vnd.apache.thrift", data_base64="AQI=")
    )

    assert (event.data, event.content_type) == (b"\x01\x02", "application/vnd.apache.thrift")
    assert event.extensions == {"comexampleextension1": "value", "comexampleothervalue": "5"}


@pytest.mark.parametrize(
    ("given", "data", "kind"),
    [
        (
            {"data": {"appinfoA": "abc", "n": 123}},
            b'{"appinfoA":"abc","n":123}',
            "application/json",
        ),
        ({"datacontenttype": "application/json", "data": "text"}, b'"text"', "application/json"),
        ({"datacontenttype": "application/xml", "data": "<a/>"}, b"<a/>", "application/xml"),
        ({"datacontenttype": "a/b+json", "data": [1]}, b"[1]", "a/b+json"),
        ({"data": False}, b"false", "application/json"),
        ({}, b"", ""),
    ],
)
def test_data_in_json_is_as_its_content_type_says(
    given: dict[str, object], data: bytes, kind: str
) -> None:
    event = unpacked(structured(**given))

    assert (event.data, event.content_type) == (data, kind)


def test_what_is_packed_has_trace_subject_and_key() -> None:
    traced = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    event = CloudEvent(
        "wf_1/4",
        "/workflow",
        "document_reviewed",
        b"{}",
        "application/json",
        subject="wf_1",
        time=datetime(2026, 1, 2, 5, tzinfo=timezone(timedelta(hours=2))),
        schema="https://example.com/s.json",
        key="wf_1",
        traceparent=traced,
        extensions={"tenant": "acme"},
    )

    message = packed(event, "t")

    assert message.key == "wf_1"
    assert message.headers["traceparent"] == traced
    assert message.headers["ce_time"] == "2026-01-02T03:00:00Z"
    assert unpacked(message) == event


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (Message("t", "k", b"", MINIMAL | {"ce_specversion": "0.3"}), "specversion"),
        (Message("t", "k", b"{}", {}), "specversion"),
        (Message("t", "k", b"", MINIMAL | {"ce_id": ""}), "id"),
        (Message("t", "k", b"", MINIMAL | {"ce_type": "a\nb"}), "type"),
        (Message("t", "k", b"", MINIMAL | {"ce_time": "yesterday"}), "time"),
        (Message("t", "k", b"", MINIMAL | {"ce_time": "2026-01-02T03:04:05"}), "time"),
        (Message("t", "k", b"", MINIMAL | {"ce_time": "2026-13-02T03:04:05Z"}), "time"),
        (Message("t", "k", b"", MINIMAL | {"ce_": "x"}), ""),
        (Message("t", "k", b"", MINIMAL | {"ce_source": "x" * 2049}), "source"),
        (
            Message("t", "k", b"", {"content-type": "application/cloudevents-batch+json"}),
            "content-type",
        ),
        (structured(source=None), "source"),
        (structured(id={"a": 1}), "id"),
        (structured(data=1, data_base64="AQI="), "data"),
        (structured(data_base64="%"), "data_base64"),
        (Message("t", "k", b"[]", {"content-type": "application/cloudevents+json"}), "value"),
        (Message("t", "k", b"[" * 9999, {"content-type": "application/cloudevents+json"}), "value"),
    ],
)
def test_what_is_no_cloudevent_is_refused_by_the_attribute_at_fault(
    message: Message, field: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        unpacked(message)

    assert caught.value.reason == "CLOUDEVENT_INVALID"
    assert caught.value.violations[0].field == field


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=50)
FIELDS = {"id", "source", "type", "specversion", "subject", "time"} | {
    "datacontenttype",
    "dataschema",
    "partitionkey",
    "traceparent",
}
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20).filter(
    lambda name: name not in FIELDS
)


@given(st.dictionaries(NAMES, TEXT.filter(bool), max_size=5), TEXT.filter(bool), st.binary())
def test_every_event_comes_back_as_it_was_packed(
    extensions: dict[str, str], text: str, data: bytes
) -> None:
    event = CloudEvent(text, text, text, data, "a/b", subject=text, extensions=extensions)

    assert unpacked(packed(event, "t")) == event
