"""OTLP over HTTP, by protobuf: a POST for each batch. The next batch is the next attempt."""

from collections.abc import Sequence
from time import monotonic
from typing import Final

import httpx2
from opentelemetry.sdk.trace.export import SpanExportResult

from services.chassis.tracing.otlp import Encoder

_MOST_BYTES: Final = 64 * 1024
"""Of an answer, which is empty as a rule: what is read to its end keeps the connection."""


class HttpWay:
    """Sends batches, from the SDK's thread."""

    def __init__(self, url: str, headers: dict[str, str], seconds: float, encoder: Encoder) -> None:
        said = {**headers, "content-type": "application/x-protobuf"}
        self._client = httpx2.Client(headers=said, timeout=seconds, trust_env=False)
        self._seconds = seconds
        self._url = url
        self._encoder = encoder

    def export(self, spans: Sequence[bytes]) -> SpanExportResult:
        """Whether they arrived."""
        try:
            body = self._encoder.request(spans)
            with self._client.stream("POST", self._url, content=body) as answer:
                self._read(answer)
        except httpx2.HTTPError:
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS if answer.is_success else SpanExportResult.FAILURE

    def _read(self, answer: httpx2.Response) -> None:
        """Read it as it came, and not more than it may have: it may be packed, and endless."""
        size, end = 0, monotonic() + self._seconds
        for piece in answer.iter_raw():
            size += len(piece)
            if size > _MOST_BYTES or monotonic() > end:
                return

    def shutdown(self) -> None:
        """Let go of the connection."""
        self._client.close()
