"""CloudEvents 1.0 on a bus: binary mode out, binary and structured (JSON) mode in. Pure.

In binary mode attributes are headers (`ce_id`, …) and the value is the data, as the Kafka binding
of CloudEvents has it; `traceparent` stands beside them, as W3C has it.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from services.chassis.errors import InvalidArgument, Violation, invalid
from services.chassis.eventbus.port import Message

STRUCTURED: Final = "application/cloudevents+json"
MAX_ATTRIBUTE_CHARACTERS: Final = 2048
MAX_EXTENSIONS: Final = 64
_PREFIX: Final = "ce_"
_KNOWN: Final = frozenset(
    {"id", "source", "type", "specversion", "subject", "time", "datacontenttype", "dataschema"}
)
_NAME: Final = re.compile(r"[a-z0-9]{1,64}")
# The rule of the specification: no control characters and no halves of surrogate pairs.
_FORBIDDEN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """An event as other systems know it."""

    id: str
    """Names it, together with `source`, once and for all."""
    source: str
    type: str
    data: bytes = b""
    content_type: str = ""
    """Of the data; empty where the event has none."""
    subject: str = ""
    time: datetime | None = None
    schema: str = ""
    """The URI of the data's schema (`dataschema`)."""
    key: str = ""
    """Messages with the same key stay in order."""
    traceparent: str = ""
    extensions: Mapping[str, str] = field(default_factory=dict)


def packed(event: CloudEvent, topic: str) -> Message:
    """The message for an event, in binary mode.

    Raises:
        InvalidArgument: `CLOUDEVENT_INVALID`.
    """
    _check(event)
    attributes = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": event.time.astimezone(UTC).isoformat().replace("+00:00", "Z") if event.time else "",
        "dataschema": event.schema,
        **event.extensions,
    }
    headers = {f"{_PREFIX}{name}": value for name, value in attributes.items() if value}
    headers |= {"content-type": event.content_type} if event.content_type else {}
    headers |= {"traceparent": event.traceparent} if event.traceparent else {}
    return Message(topic, event.key, event.data, headers)


def unpacked(message: Message) -> CloudEvent:
    """The event in a message of either mode.

    Raises:
        InvalidArgument: `CLOUDEVENT_INVALID`; it names the attribute.
    """
    headers = {name.lower(): value for name, value in message.headers.items()}
    kind = headers.get("content-type", "")
    media = kind.partition(";")[0].strip().lower()
    if media == STRUCTURED:
        return _structured(message, headers)
    if media.startswith("application/cloudevents"):
        raise _invalid("content-type", f"{media[:64]} is not supported", f"send {STRUCTURED}")
    attributes = {
        name.removeprefix(_PREFIX): value
        for name, value in headers.items()
        if name.startswith(_PREFIX)
    }
    return _event(attributes, message, data=message.value, content_type=kind, headers=headers)


def _structured(message: Message, headers: Mapping[str, str]) -> CloudEvent:
    document = _object(message.value)
    data, kind = _data(document)
    attributes = {
        name: _text(name, value)
        for name, value in document.items()
        if name not in {"data", "data_base64"} and value is not None
    }
    return _event(attributes, message, data=data, content_type=kind, headers=headers)


def _object(value: bytes) -> dict[str, Any]:
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        raise _invalid("value", "is not JSON", "send a JSON object") from None
    if not isinstance(document, dict):
        raise _invalid("value", "is not a JSON object", "send a JSON object")
    return document


def _data(document: Mapping[str, Any]) -> tuple[bytes, str]:
    kind = document.get("datacontenttype")
    kind = kind if isinstance(kind, str) else ""
    if "data" in document and "data_base64" in document:
        raise _invalid("data", "stands beside data_base64", "send one of them")
    if (encoded := document.get("data_base64")) is not None:
        try:
            return base64.b64decode(encoded, validate=True), kind
        except (TypeError, ValueError, binascii.Error):
            raise _invalid("data_base64", "is not base64", "send base64 or data") from None
    if "data" not in document or document["data"] is None:
        return b"", kind
    data = document["data"]
    is_json = not kind or kind.partition(";")[0].strip().lower().endswith(("/json", "+json"))
    if isinstance(data, str) and not is_json:
        return data.encode(errors="replace"), kind
    encoded_data = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return encoded_data.encode(errors="replace"), kind or "application/json"


def _text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    raise _invalid(name, "is neither text, a whole number nor a boolean", "send text")


def _event(
    attributes: Mapping[str, str],
    message: Message,
    *,
    data: bytes,
    content_type: str,
    headers: Mapping[str, str],
) -> CloudEvent:
    if attributes.get("specversion") != "1.0":
        raise _invalid("specversion", "is not 1.0", "send CloudEvents 1.0")
    extensions = {
        name: value
        for name, value in attributes.items()
        if name not in _KNOWN and name != "traceparent"
    }
    event = CloudEvent(
        id=attributes.get("id", ""),
        source=attributes.get("source", ""),
        type=attributes.get("type", ""),
        data=data,
        content_type=content_type,
        subject=attributes.get("subject", ""),
        time=_time(attributes.get("time", "")),
        schema=attributes.get("dataschema", ""),
        key=message.key or extensions.get("partitionkey", ""),
        traceparent=headers.get("traceparent", "") or attributes.get("traceparent", ""),
        extensions=extensions,
    )
    _check(event)
    return event


def _time(text: str) -> datetime | None:
    if not text:
        return None
    if _TIME.fullmatch(text):
        try:
            return datetime.fromisoformat(text.upper())
        except ValueError:
            pass
    raise _invalid("time", "is not a time", "send RFC 3339, such as 2026-01-02T03:04:05Z")


def _check(event: CloudEvent) -> None:
    for name, value in (("id", event.id), ("source", event.source), ("type", event.type)):
        if not value:
            raise _invalid(name, "is missing", "send CloudEvents 1.0")
    if event.time is not None and event.time.tzinfo is None:
        raise _invalid("time", "has no zone", "use a time with a zone")
    if len(event.extensions) > MAX_EXTENSIONS:
        raise _invalid("extensions", f"are more than {MAX_EXTENSIONS}", "send fewer")
    for name in event.extensions:
        if not _NAME.fullmatch(name) or name in _KNOWN:
            raise _invalid(name[:64], "is no name of an attribute", "use a-z and 0-9")
    _check_texts(event)


def _check_texts(event: CloudEvent) -> None:
    texts = {
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "dataschema": event.schema,
        "datacontenttype": event.content_type,
        "traceparent": event.traceparent,
        **event.extensions,
    }
    for name, value in texts.items():
        if len(value) > MAX_ATTRIBUTE_CHARACTERS or _FORBIDDEN.search(value):
            fix = f"send at most {MAX_ATTRIBUTE_CHARACTERS} characters without control characters"
            raise _invalid(name[:64], "is too long or has control characters", fix)


def _invalid(attribute: str, problem: str, fix: str) -> InvalidArgument:
    return invalid(Violation(attribute, problem, fix), reason="CLOUDEVENT_INVALID")
