"""OTLP over HTTP, by protobuf: a POST for each batch. The next batch is the next attempt."""

from collections.abc import Sequence

import httpx2
from opentelemetry.sdk.trace.export import SpanExportResult

from services.chassis.tracing.otlp import Encoder
from services.chassis.tracing.spans import Span


class HttpWay:
    """Sends batches, from the SDK's thread."""

    def __init__(self, url: str, headers: dict[str, str], seconds: float, encoder: Encoder) -> None:
        said = {**headers, "content-type": "application/x-protobuf"}
        self._client = httpx2.Client(headers=said, timeout=seconds, trust_env=False)
        self._url = url
        self._encoder = encoder

    def export(self, spans: Sequence[Span]) -> SpanExportResult:
        """Whether they arrived."""
        try:
            body = self._encoder.request(spans).SerializeToString()
            answer = self._client.post(self._url, content=body)
        except httpx2.HTTPError:
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS if answer.is_success else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Let go of the connection."""
        self._client.close()
