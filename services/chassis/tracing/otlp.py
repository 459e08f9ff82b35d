"""Spans as OTLP, written at once: by way of the SDK's own spans it takes eight times as long."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2 as pb

from services.chassis.tracing.spans import CONSUMER, SERVER, Facts, Span, Value

_FLAGS: Final = 0x101  # Sampled; and it is known whether the parent is elsewhere.
_REMOTE: Final = 0x301
_KEPT: Final = 4096
MOST_NAMES: Final = 1024
"""Names of spans that are told apart: strangers ask for tools that there are not."""
_SCOPE: Final = InstrumentationScope(name="runplane")
_FAILED: Final = pb.Status(code=pb.Status.STATUS_CODE_ERROR)


class Encoder:
    """Encodes the spans of a process."""

    def __init__(self, resource: Facts, renamed: Mapping[str, str]) -> None:
        """`renamed`: what is called something else than its name here."""
        self._resource = Resource(attributes=[_pair(name, of) for name, of in resource.items()])
        self._renamed = renamed
        self._names: set[str] = set()

    def request(self, spans: Sequence[Span]) -> ExportTraceServiceRequest:
        """A batch."""
        try:
            encoded = [self._span(each) for each in spans]
        except (TypeError, ValueError):  # One that cannot be told must not take the others along.
            encoded = [known for each in spans if (known := self._span_or_none(each)) is not None]
        scope = pb.ScopeSpans(scope=_SCOPE, spans=encoded)
        of_process = pb.ResourceSpans(resource=self._resource, scope_spans=[scope])
        return ExportTraceServiceRequest(resource_spans=[of_process])

    def _span_or_none(self, span: Span) -> pb.Span | None:
        try:
            return self._span(span)
        except (TypeError, ValueError):
            return None

    def _span(self, span: Span) -> pb.Span:
        here = span.context
        return pb.Span(
            trace_id=bytes.fromhex(here.trace_id),
            span_id=bytes.fromhex(here.span_id),
            trace_state=here.tracestate,
            parent_span_id=bytes.fromhex(here.parent_id),
            name=self._bounded(span.name),
            kind=span.kind,  # type: ignore[arg-type] # They are the same numbers.
            start_time_unix_nano=span.start_ns,
            end_time_unix_nano=span.end_ns,
            attributes=self._named(span.facts),
            events=[
                pb.Span.Event(name=name, time_unix_nano=at, attributes=self._named(facts))
                for name, at, facts in span.events
            ],
            links=[
                pb.Span.Link(trace_id=bytes.fromhex(trace), span_id=bytes.fromhex(of))
                for trace, of in span.links
            ],
            status=_FAILED if span.failure else None,
            flags=_REMOTE if span.kind in {SERVER, CONSUMER} else _FLAGS,
        )

    def _bounded(self, name: str) -> str:
        """The name; once there are too many, what kind of span it is."""
        if name in self._names:
            return name
        if len(self._names) < MOST_NAMES:
            self._names.add(name)
            return name
        return name.partition(" ")[0]

    def _named(self, facts: Facts) -> list[KeyValue]:
        renamed = self._renamed
        return [_known(renamed.get(name, name), of) for name, of in facts.items()]


def _known(name: str, value: Value) -> KeyValue:
    """A pair; most are the same in many spans."""
    if isinstance(value, str) and len(value) <= 64:
        return _kept(name, value)
    return _pair(name, value)


def _pair(name: str, value: Value) -> KeyValue:
    return KeyValue(key=name, value=_value(value))


@lru_cache(maxsize=_KEPT)
def _kept(name: str, value: str) -> KeyValue:
    return _pair(name, value)


def _value(value: Value) -> AnyValue:
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    return AnyValue(array_value=ArrayValue(values=[_value(each) for each in value]))
