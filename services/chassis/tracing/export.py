"""The way of a process's spans to a collector, by OTLP."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from services.chassis.settings import TelemetrySettings
from services.chassis.tracing import names
from services.chassis.tracing.batches import Batches, Way
from services.chassis.tracing.otlp import Encoder
from services.chassis.tracing.spans import Span

MOST_LAST_SECONDS: Final = 5.0
"""For what waits when the process ends. What is not sent by then is lost."""


@contextmanager
def exporting(service: str, settings: TelemetrySettings) -> Iterator[Callable[[Span], None]]:
    """What takes spans that have ended. On leaving, those that wait are sent."""
    resource = {"service.name": f"runplane-{service}", "service.namespace": "runplane"}
    encoder = Encoder(resource, names.RENAMED[settings.conventions])
    place = urlsplit(settings.endpoint or "").netloc
    batches = Batches(_way(settings), encoder, place=place, most=settings.max_queue)
    last_seconds = min(settings.timeout.total_seconds(), MOST_LAST_SECONDS)
    with batches.sending(last_seconds=last_seconds):
        yield batches.ended


def _way(settings: TelemetrySettings) -> Way:
    pairs = [each.partition("=") for each in settings.headers.get_secret_value().split(",")]
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs if name.strip()}
    way = _by_grpc if settings.protocol == "grpc" else _by_http
    return way(settings.endpoint or "", headers, settings.timeout.total_seconds())


def _by_grpc(endpoint: str, headers: dict[str, str], seconds: float) -> Way:
    from services.chassis.tracing.grpc_way import GrpcWay  # noqa: PLC0415 - one of two

    return GrpcWay(endpoint, headers, seconds)


def _by_http(endpoint: str, headers: dict[str, str], seconds: float) -> Way:
    from services.chassis.tracing.http import HttpWay  # noqa: PLC0415 - the other

    url = endpoint.rstrip("/")
    return HttpWay(url if url.endswith("/v1/traces") else f"{url}/v1/traces", headers, seconds)
