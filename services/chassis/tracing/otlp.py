"""Spans as OTLP (`ExportTraceServiceRequest` of opentelemetry-proto)."""

import struct
from collections.abc import Mapping, Sequence
from typing import Final

from services.chassis.tracing.spans import CONSUMER, SERVER, Facts, Span
from services.chassis.tracing.wire import Attributes, sized, text

MOST_NAMES: Final = 1024
"""Names of spans that are told apart: strangers ask for tools that there are not."""

_FLAGS: Final = 0x101  # Sampled; and it is known whether the parent is elsewhere.
_REMOTE: Final = 0x301
_SCOPE: Final = b"\x0a" + sized(b"\x0a" + text("runplane"))
_FAILED: Final = b"\x7a\x02\x18\x02"
# Kind, start, end; flags. A tag is before each.
_FIXED: Final = struct.Struct("<BBBQBQHI")
_EVENT_TIME: Final = struct.Struct("<BQ")
_IDS: Final = (56, 76)
"""Digits of a trace's and a span's id, without and with that of a parent; with their tags."""


class Encoder:
    """Encodes the spans of a process."""

    def __init__(self, resource: Facts, renamed: Mapping[str, str]) -> None:
        """`renamed`: what is called something else than its name here."""
        self._attributes = Attributes(renamed)
        self._resource = b"\x0a" + sized(Attributes({}).written(b"\x0a", resource))
        self._names: dict[str, bytes] = {}

    def request(self, spans: Sequence[bytes]) -> bytes:
        """A batch of what `span` made."""
        whole = self._resource + b"\x12" + sized(_SCOPE + b"".join(spans))
        return b"\x0a" + sized(whole)

    def span(self, span: Span) -> bytes | None:
        """A span, as a part of a batch; None if there is something in it that cannot be told, or
        that another thread is just changing."""
        try:
            return b"\x12" + sized(self._span(span))
        except (AttributeError, RuntimeError, TypeError, ValueError, struct.error):
            return None

    def _span(self, span: Span) -> bytes:
        here, attributes = span.context, self._attributes
        written = attributes.written
        parent = f"2208{here.parent_id}" if here.parent_id else ""
        parts = [
            _ids(f"0a10{here.trace_id}1208{here.span_id}{parent}"),
            self._name(span.name),
            _FIXED.pack(
                0x30,
                span.kind,
                0x39,
                span.start_ns,
                0x41,
                span.end_ns,
                0x0185,
                _REMOTE if span.kind in {SERVER, CONSUMER} else _FLAGS,
            ),
            attributes.shared(b"\x4a", span.always),
            written(b"\x4a", span.facts),
        ]
        if here.tracestate:
            parts += b"\x1a", text(here.tracestate)
        for name, at, facts in span.events:
            event = _EVENT_TIME.pack(0x09, at) + b"\x12" + text(name) + written(b"\x1a", facts)
            parts += b"\x5a", sized(event)
        for trace_id, span_id in span.links:
            parts += b"\x6a", sized(_ids(f"0a10{trace_id}1208{span_id}"))
        if span.failure:
            parts.append(_FAILED)
        return b"".join(parts)

    def _name(self, name: str) -> bytes:
        """The name; once there are too many, what kind of span it is."""
        if (known := self._names.get(name)) is not None:
            return known
        if len(self._names) < MOST_NAMES:
            known = self._names[name] = b"\x2a" + text(name)
            return known
        return b"\x2a" + text(name.partition(" ")[0])


def _ids(digits: str) -> bytes:
    """Raises `ValueError` where they are none: what follows could not be told apart from them."""
    if len(digits) not in _IDS:
        raise ValueError("ids are 16 and 8 bytes long")
    return bytes.fromhex(digits)
