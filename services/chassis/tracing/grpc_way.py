"""OTLP over gRPC: a call for each batch, with the bytes as they are."""

from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import grpc

_EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_MOST_BYTES: Final = 64 * 1024
"""Of an answer, which is empty as a rule."""


class GrpcWay:
    """Sends batches. A collector that is away has the timeout to come."""

    def __init__(self, url: str, headers: dict[str, str], seconds: float) -> None:
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

    def send(self, request: bytes) -> str:
        """See `Way`."""
        try:
            self._export(
                request, timeout=self._seconds, metadata=self._metadata, wait_for_ready=True
            )
        except grpc.RpcError as error:
            return error.code().name if isinstance(error, grpc.Call) else type(error).__name__
        return ""

    def close(self) -> None:
        """See `Way`."""
        self._channel.close()
