"""Spans on their way to a collector, by OTLP: the one place that knows OpenTelemetry's SDK.

A thread of the SDK's sends them in batches from a bounded queue; when that is full, what is older
gives way. A collector that does not answer costs a line a minute, no caller anything, and the end
of the process a few seconds.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from services.chassis.settings import TelemetrySettings
from services.chassis.tracing import names
from services.chassis.tracing.otlp import Encoder
from services.chassis.tracing.spans import Span

log = logging.getLogger(__name__)

BATCH: Final = 512
CONTENT_BATCH: Final = 64  # With prompts in them: collectors take 4 MiB at a time.
MOST_LAST_SECONDS: Final = 5.0
"""For what waits when the process ends. What is not sent by then is lost."""
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
        _Exporter(_otlp(settings, encoder), urlsplit(settings.endpoint or "").netloc),
        max_queue_size=settings.max_queue,
        schedule_delay_millis=_DELAY_MS,
        max_export_batch_size=CONTENT_BATCH if settings.content else BATCH,
    )
    # Its `on_end` wants the SDK's own spans, which nobody makes here, and its `shutdown` half a
    # minute, which a process that is to end does not have.
    held = batches._batch_processor  # noqa: SLF001
    emit: Callable[[Any], None] = held.emit

    def ended(span: Span) -> None:
        """Encode it while it is at hand: a second later it takes twice as long, and its objects
        would have lived until then."""
        if (encoded := encoder.span(span)) is not None:
            emit(encoded)

    try:
        yield ended
    finally:
        last = min(settings.timeout.total_seconds(), MOST_LAST_SECONDS)
        held.shutdown(timeout_millis=round(last * 1000))


class _Exporter(SpanExporter):
    """Says once a minute that spans do not arrive, and where they were to go."""

    def __init__(self, way: _Way, place: str) -> None:
        self._way = way
        self._place = place
        self._quiet_until = 0.0

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        """See `SpanExporter`. What is raised here the SDK would keep to itself."""
        cause, result = "", SpanExportResult.FAILURE
        try:
            result = self._way.export(spans)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next batch is another try
            cause = type(error).__name__
        if result is not SpanExportResult.SUCCESS and time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + _QUIET_SECONDS
            facts = {"to": self._place, "spans": len(spans), "cause": cause}
            log.warning("traces not sent", extra=facts)
        return result

    def shutdown(self) -> None:
        """See `SpanExporter`."""
        self._way.shutdown()


def _otlp(settings: TelemetrySettings, encoder: Encoder) -> _Way:
    pairs = [each.partition("=") for each in settings.headers.get_secret_value().split(",")]
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs if name.strip()}
    way = _by_grpc if settings.protocol == "grpc" else _by_http
    return way(settings, headers, encoder)


def _by_grpc(settings: TelemetrySettings, headers: dict[str, str], encoder: Encoder) -> _Way:
    from services.chassis.tracing.grpc_way import GrpcWay  # noqa: PLC0415 - one of two

    return GrpcWay(settings.endpoint or "", headers, settings.timeout.total_seconds(), encoder)


def _by_http(settings: TelemetrySettings, headers: dict[str, str], encoder: Encoder) -> _Way:
    from services.chassis.tracing.http import HttpWay  # noqa: PLC0415 - the other

    endpoint = (settings.endpoint or "").rstrip("/")
    url = endpoint if endpoint.endswith("/v1/traces") else f"{endpoint}/v1/traces"
    return HttpWay(url, headers, settings.timeout.total_seconds(), encoder)
