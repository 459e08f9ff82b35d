"""OTLP over gRPC: a call for each batch, with the bytes as they are."""

from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

import grpc
from opentelemetry.sdk.trace.export import SpanExportResult

from services.chassis.tracing.otlp import Encoder

_EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_MOST_BYTES: Final = 64 * 1024
"""Of an answer, which is empty as a rule."""


class GrpcWay:
    """Sends batches, from the SDK's thread. A collector that is away has the timeout to come."""

    def __init__(self, url: str, headers: dict[str, str], seconds: float, encoder: Encoder) -> None:
        """`url` begins with http or https; the latter is TLS."""
        place, options = urlsplit(url), [("grpc.max_receive_message_length", _MOST_BYTES)]
        self._channel = (
            grpc.insecure_channel(place.netloc, options)
            if place.scheme == "http"
            else grpc.secure_channel(place.netloc, grpc.ssl_channel_credentials(), options)
        )
        self._export: Callable[..., bytes] = self._channel.unary_unary(_EXPORT)
        self._metadata = tuple(headers.items())
        self._seconds = seconds
        self._encoder = encoder

    def export(self, spans: Sequence[bytes]) -> SpanExportResult:
        """Whether they arrived."""
        try:
            self._export(
                self._encoder.request(spans),
                timeout=self._seconds,
                metadata=self._metadata,
                wait_for_ready=True,
            )
        except grpc.RpcError:
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Let go of the connection."""
        self._channel.close()
