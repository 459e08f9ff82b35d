"""OTLP over HTTP, by protobuf: a POST for each batch. The next batch is the next attempt."""

from time import monotonic
from typing import Final

import httpx2

_MOST_BYTES: Final = 64 * 1024
"""Of an answer, which is empty as a rule: what is read to its end keeps the connection."""


class HttpWay:
    """Sends batches."""

    def __init__(self, url: str, headers: dict[str, str], seconds: float) -> None:
        said = {**headers, "content-type": "application/x-protobuf"}
        self._client = httpx2.Client(headers=said, timeout=seconds, trust_env=False)
        self._seconds = seconds
        self._url = url

    def send(self, request: bytes) -> str:
        """See `Way`."""
        try:
            with self._client.stream("POST", self._url, content=request) as answer:
                self._read(answer)
        except httpx2.HTTPError as error:
            return type(error).__name__
        return "" if answer.is_success else f"HTTP {answer.status_code}"

    def _read(self, answer: httpx2.Response) -> None:
        """Read it as it came, and not more than it may have: it may be packed, and endless."""
        size, end = 0, monotonic() + self._seconds
        for piece in answer.iter_raw():
            size += len(piece)
            if size > _MOST_BYTES or monotonic() > end:
                return

    def close(self) -> None:
        """See `Way`."""
        self._client.close()
