"""Spans on their way to a collector, by OTLP: the one place that knows OpenTelemetry's SDK.

A thread of the SDK's sends them in batches from a bounded queue; when that is full, what is older
gives way. A collector that does not answer costs a line a minute, and no caller anything.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import grpc
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode

from services.chassis.settings import TelemetrySettings
from services.chassis.tracing import names
from services.chassis.tracing.spans import CONSUMER, SERVER, Span, Value

log = logging.getLogger(__name__)

BATCH: Final = 512
_DELAY_MS: Final = 1000
_QUIET_SECONDS: Final = 60.0
_SCOPE: Final = InstrumentationScope("runplane")
_KINDS: Final = dict(enumerate(SpanKind, 1))
_FLAGS: Final = TraceFlags(TraceFlags.SAMPLED)
_FAILED: Final = Status(StatusCode.ERROR)
_UNSET: Final = Status(StatusCode.UNSET)


@contextmanager
def exporting(service: str, settings: TelemetrySettings) -> Iterator[Callable[[Span], None]]:
    """What takes spans that have ended. On leaving, those that wait are sent."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)  # `log` says it.
    resource = Resource({"service.name": f"runplane-{service}", "service.namespace": "runplane"})
    renamed = names.RENAMED[settings.conventions]
    exporter = _Exporter(_otlp(settings), partial(_readable, resource=resource, renamed=renamed))
    batches = BatchSpanProcessor(
        exporter,
        max_queue_size=settings.max_queue,
        schedule_delay_millis=_DELAY_MS,
        max_export_batch_size=BATCH,
    )
    emit: Callable[[Any], None] = batches._batch_processor.emit  # noqa: SLF001 - `on_end` wants the SDK's own spans, which are made only when they are sent
    try:
        yield emit
    finally:
        batches.shutdown()  # type: ignore[no-untyped-call]


class _Exporter(SpanExporter):
    """Turns spans into the SDK's, in its thread, and says once a minute that they do not arrive."""

    def __init__(self, inner: SpanExporter, readable: Callable[[Span], ReadableSpan]) -> None:
        self._inner = inner
        self._readable = readable
        self._quiet_until = 0.0

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        """See `SpanExporter`."""
        result = self._inner.export([self._readable(each) for each in spans])
        if result is not SpanExportResult.SUCCESS and time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + _QUIET_SECONDS
            log.warning("traces not sent", extra={"spans": len(spans)})
        return result

    def shutdown(self) -> None:
        """See `SpanExporter`."""
        self._inner.shutdown()


def _otlp(settings: TelemetrySettings) -> SpanExporter:
    endpoint, timeout = settings.endpoint or "", settings.timeout.total_seconds()
    pairs = [each.partition("=") for each in settings.headers.get_secret_value().split(",") if each]
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if settings.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415 - one of two
            OTLPSpanExporter,
        )

        is_plain = endpoint.startswith("http://")
        return OTLPSpanExporter(
            endpoint=endpoint,
            insecure=is_plain,
            credentials=None if is_plain else grpc.ssl_channel_credentials(),
            headers=headers,
            timeout=timeout,
        )
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - the other
        OTLPSpanExporter as HttpExporter,
    )

    path = "" if endpoint.rstrip("/").endswith("/v1/traces") else "/v1/traces"
    return HttpExporter(endpoint=endpoint.rstrip("/") + path, headers=headers, timeout=timeout)


def _readable(span: Span, *, resource: Resource, renamed: Mapping[str, str]) -> ReadableSpan:
    here = span.context
    state = TraceState.from_header([here.tracestate]) if here.tracestate else None
    is_remote = span.kind in {SERVER, CONSUMER}
    parent = _context(here.trace_id, here.parent_id, None, is_remote) if here.parent_id else None
    return ReadableSpan(
        name=span.name,
        context=_context(here.trace_id, here.span_id, state),
        parent=parent,
        resource=resource,
        attributes=_named(span.facts, renamed),
        events=[Event(name, _named(facts, renamed), at) for name, at, facts in span.events],
        links=[Link(_context(trace, of)) for trace, of in span.links],
        kind=_KINDS[span.kind],
        status=_FAILED if span.failure else _UNSET,
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=_SCOPE,
    )


def _named(facts: Mapping[str, Value], renamed: Mapping[str, str]) -> Mapping[str, Value]:
    return {renamed.get(name, name): value for name, value in facts.items()} if renamed else facts


def _context(
    trace_id: str, span_id: str, state: TraceState | None = None, is_remote: bool = False
) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote, _FLAGS, state)
