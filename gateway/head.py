"""The head of a request: its headers, read once, as what the edge acts on."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from services.chassis.context import (
    CACHE_CONTROL,
    IDEMPOTENCY_KEY,
    REQUEST_KEY,
    STATE_KEY,
    TRACE_KEY,
    VERSION_KEY,
    Link,
    RequestContext,
    from_metadata,
    link,
)
from services.chassis.errors import InvalidArgument, Violation, invalid

Headers = Iterable[tuple[bytes, bytes]]

TIMEOUT: Final = "x-request-timeout"
# Headers that travel on as metadata. Who asks is the edge's to say: `runplane-tenant` and its like
# are not among them.
_PASSED: Final = {
    b"x-request-id": REQUEST_KEY,
    b"traceparent": TRACE_KEY,
    b"tracestate": STATE_KEY,
    b"runplane-version": VERSION_KEY,
    b"idempotency-key": IDEMPOTENCY_KEY,
    b"cache-control": CACHE_CONTROL,
}
# Of these, what the context does not carry on by itself.
_BESIDE: Final = (b"runplane-version", b"idempotency-key", b"cache-control")
_READ: Final = frozenset(
    {
        *_PASSED,
        TIMEOUT.encode(),
        b"accept",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"host",
        b"if-none-match",
        b"last-event-id",
        b"mcp-protocol-version",
        b"mcp-session-id",
        b"origin",
        b"transfer-encoding",
    }
)
# Lists, each word of which counts (RFC 9110, 5.3).
_LISTED: Final = (b"cache-control", b"tracestate")
_ONCE: Final = (b"host", b"mcp-session-id", b"origin")
_PRINTABLE: Final = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]{0,254}[\x21-\x7e])?")
_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s)?")
_JSON_TYPES: Final = frozenset({b"", b"application/json", b"application/json; charset=utf-8"})


@dataclass(frozen=True, slots=True)
class Head:
    """What the headers say."""

    context: RequestContext
    metadata: tuple[tuple[str, str], ...]
    """What goes to the service with the call."""
    fields: dict[bytes, bytes]
    """The headers that the edge reads."""
    elsewhere: Link | None = None
    """The client's trace, where those are not gone on with."""

    @property
    def content_length(self) -> int:
        """Bytes of the body as far as the client said."""
        return int(self.fields.get(b"content-length", b"0"))

    @property
    def has_body(self) -> bool:
        """Whether a body comes."""
        return b"transfer-encoding" in self.fields or self.content_length > 0

    def text(self, name: bytes) -> str:
        """A header's value; empty when it is not there."""
        return self.fields.get(name, b"").decode("latin-1")


def read(headers: Headers, *, follows: bool = True) -> Head:
    """Read the head. Where it `follows`, the trace that it names is gone on with.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; an id has characters that ids do not have, or a header
            that decides who may ask is there twice.
        FailedPrecondition: `PROTOCOL_VERSION_UNSUPPORTED`.
    """
    said = [each for each in headers if each[0] in _READ]
    fields = dict(said)
    if len(fields) < len(said):
        _check_once([name for name, _ in said])
        for listed in _LISTED:
            if listed in fields:
                fields[listed] = b", ".join(value for name, value in said if name == listed)
    elsewhere = None
    if not follows:
        elsewhere = link(fields.pop(b"traceparent", b"").decode("latin-1"))
        fields.pop(b"tracestate", None)
    passed = [
        (key, fields[name].decode("latin-1")) for name, key in _PASSED.items() if name in fields
    ]
    context = from_metadata(passed)
    metadata = context.metadata()
    for name in _BESIDE:
        if name in fields:
            metadata = (*metadata, (_PASSED[name], _plain(name, fields[name])))
    return Head(context, metadata, fields, elsewhere)


def _check_once(names: list[bytes]) -> None:
    """Refuse a head that says twice what others may have looked at once (RFC 9112, 3.2)."""
    for name in _ONCE:
        if names.count(name) > 1:
            raise invalid(Violation(name.decode(), "is there more than once", "send it once"))


def _plain(name: bytes, value: bytes) -> str:
    """A header's value as gRPC carries it: printable ASCII."""
    if not _PRINTABLE.fullmatch(value):
        fix = "send 1 to 256 printable ASCII characters"
        raise invalid(Violation(name.decode(), "is not printable ASCII", fix))
    return value.decode()


def timeout(head: Head) -> float:
    """Seconds that the client gives the call; 0 when it does not say.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; it is no duration above zero.
    """
    said = head.fields.get(b"x-request-timeout")
    if said is None:
        return 0.0
    match = _DURATION.fullmatch(said.decode("latin-1").strip())
    seconds = float(match[1]) / (1000 if match[2] == "ms" else 1) if match else 0.0
    if seconds <= 0:
        fix = "send seconds above zero, such as 2.5, or a number with ms or s, such as 2500ms"
        raise invalid(Violation(TIMEOUT, "is not a duration above zero", fix))
    return seconds


def check_json(head: Head) -> None:
    """Refuse a body that does not say it is JSON in UTF-8.

    Raises:
        InvalidArgument: `MEDIA_TYPE_UNSUPPORTED`.
    """
    fields = head.fields
    if b"content-encoding" in fields and fields[b"content-encoding"].lower() != b"identity":
        raise _unsupported("content-encoding", head.text(b"content-encoding"), "send it plain")
    said = fields.get(b"content-type", b"")
    if said in _JSON_TYPES:
        return
    media, *parameters = [part.strip() for part in said.lower().split(b";")]
    charsets = [part[8:].strip(b'"') for part in parameters if part.startswith(b"charset=")]
    if media != b"application/json" or any(each not in (b"utf-8", b"utf8") for each in charsets):
        fix = "send Content-Type: application/json, in UTF-8"
        raise _unsupported("content-type", head.text(b"content-type"), fix)


def _unsupported(field: str, said: str, fix: str) -> InvalidArgument:
    return InvalidArgument(
        "MEDIA_TYPE_UNSUPPORTED",
        f"{field} {said[:100]} is not taken here",
        field=field,
        suggested_fix=fix,
    )
