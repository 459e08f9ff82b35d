"""Spans on their way to a collector, by OTLP: the one place that knows OpenTelemetry's SDK.

A thread of the SDK's sends them in batches from a bounded queue; when that is full, what is older
gives way. A collector that does not answer costs a line a minute, and no caller anything.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import grpc
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from services.chassis.settings import TelemetrySettings
from services.chassis.tracing import names
from services.chassis.tracing.otlp import Encoder
from services.chassis.tracing.spans import Span

log = logging.getLogger(__name__)

BATCH: Final = 512
_DELAY_MS: Final = 1000
_QUIET_SECONDS: Final = 60.0


class _Way(Protocol):
    """What the SDK's exporters do, and no more."""

    def export(self, spans: Sequence[Any]) -> SpanExportResult: ...

    def shutdown(self) -> None: ...


@contextmanager
def exporting(service: str, settings: TelemetrySettings) -> Iterator[Callable[[Span], None]]:
    """What takes spans that have ended. On leaving, those that wait are sent."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)  # `log` says it.
    resource = {"service.name": f"runplane-{service}", "service.namespace": "runplane"}
    encoder = Encoder(resource, names.RENAMED[settings.conventions])
    batches = BatchSpanProcessor(
        _Exporter(
            _otlp(settings, encoder), urlsplit(settings.endpoint or "").netloc.rpartition("@")[2]
        ),
        max_queue_size=settings.max_queue,
        schedule_delay_millis=_DELAY_MS,
        max_export_batch_size=BATCH,
    )
    # `on_end` wants the SDK's own spans, which nobody makes here.
    emit: Callable[[Any], None] = batches._batch_processor.emit  # noqa: SLF001
    try:
        yield emit
    finally:
        batches.shutdown()  # type: ignore[no-untyped-call]


class _Exporter(SpanExporter):
    """Says once a minute that spans do not arrive, and where they were to go."""

    def __init__(self, way: _Way, place: str) -> None:
        self._way = way
        self._place = place
        self._quiet_until = 0.0

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        """See `SpanExporter`."""
        result = self._way.export(spans)
        if result is not SpanExportResult.SUCCESS and time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + _QUIET_SECONDS
            log.warning("traces not sent", extra={"to": self._place, "spans": len(spans)})
        return result

    def shutdown(self) -> None:
        """See `SpanExporter`."""
        self._way.shutdown()


def _otlp(settings: TelemetrySettings, encoder: Encoder) -> _Way:
    pairs = [each.partition("=") for each in settings.headers.get_secret_value().split(",") if each]
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    way = _by_grpc if settings.protocol == "grpc" else _by_http
    return way(settings, headers, encoder)


def _by_grpc(settings: TelemetrySettings, headers: dict[str, str], encoder: Encoder) -> _Way:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415 - one of two
        OTLPSpanExporter,
    )

    class Exporter(OTLPSpanExporter):
        def _translate_data(self, data: Any) -> Any:
            return encoder.request(data)

    endpoint = settings.endpoint or ""
    is_plain = endpoint.startswith("http://")
    return Exporter(
        endpoint=endpoint,
        insecure=is_plain,
        credentials=None if is_plain else grpc.ssl_channel_credentials(),
        headers=headers,
        timeout=settings.timeout.total_seconds(),
    )


def _by_http(settings: TelemetrySettings, headers: dict[str, str], encoder: Encoder) -> _Way:
    from services.chassis.tracing.http import HttpWay  # noqa: PLC0415 - the other

    endpoint = (settings.endpoint or "").rstrip("/")
    url = endpoint if endpoint.endswith("/v1/traces") else f"{endpoint}/v1/traces"
    return HttpWay(url, headers, settings.timeout.total_seconds(), encoder)
