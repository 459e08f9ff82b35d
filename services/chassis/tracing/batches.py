"""Spans on their way: written a few at a time, and sent by a thread.

What has just been done is done again fast: a span that is written alone takes a busy process 15 µs
of CPU, one of 32 takes it 6 (decision 46).
"""

import logging
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Final, NamedTuple, Protocol

from services.chassis.tracing.otlp import Encoder
from services.chassis.tracing.spans import Span

log = logging.getLogger(__name__)

TOGETHER: Final = 32
"""Spans that are written one after another."""
MOST_BYTES: Final = 1024 * 1024
"""Of a batch, but for the last spans of it: collectors take 4 MiB at a time."""
LONGEST_SECONDS: Final = 1.0
"""That a span waits."""
_QUIET_SECONDS: Final = 60.0


class Way(Protocol):
    """How batches get to a collector."""

    def send(self, request: bytes) -> str:
        """Send a request, from the thread for it; what went wrong, or nothing."""

    def close(self) -> None:
        """Let go of the connection."""


class _Written(NamedTuple):
    spans: int
    body: bytes


class Batches:
    """Spans that have ended. When there are too many, the oldest give way."""

    def __init__(self, way: Way, encoder: Encoder, *, place: str, most: int) -> None:
        """At most `most` spans wait. `place` is where they go, for lines about those that do
        not."""
        self._way = way
        self._encoder = encoder
        self._place = place
        self._most = max(1, most // TOGETHER)
        self._ended: deque[Span] = deque(maxlen=most)
        self._written: deque[_Written] = deque()
        self._has_many = Event()
        self._is_over = False
        self._quiet_until = 0.0

    @contextmanager
    def sending(self, *, last_seconds: float) -> Iterator[None]:
        """Send what ends until the context is left; what waits then has so many seconds."""
        thread = Thread(target=self._send_all, name="traces", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._is_over = True
            self._has_many.set()
            thread.join(last_seconds)
            self._written.clear()
            self._way.close()

    def ended(self, span: Span) -> None:
        """Take a span."""
        self._ended.append(span)
        if len(self._ended) >= TOGETHER:
            self._write()

    def _write(self) -> None:
        taken = self._taken()
        told = [each for each in map(self._encoder.span, taken) if each is not None]
        if len(told) < len(taken):
            self._say("a span cannot be written", len(taken) - len(told))
        if told:
            self._written.append(_Written(len(told), b"".join(told)))
        if len(self._written) * 2 > self._most:
            self._has_many.set()
        with suppress(IndexError):  # The other thread has made room.
            while len(self._written) > self._most:
                self._say("too many wait", self._written.popleft().spans)

    def _taken(self) -> list[Span]:
        """Some of those that have ended: this is called in two threads."""
        taken: list[Span] = []
        with suppress(IndexError):
            while len(taken) < TOGETHER:
                taken.append(self._ended.popleft())
        return taken

    def _send_all(self) -> None:
        is_last = False
        while not is_last:
            self._has_many.wait(LONGEST_SECONDS)
            self._has_many.clear()
            is_last = self._is_over
            self._write()
            while self._written:
                self._send()

    def _send(self) -> None:
        spans, size, parts = 0, 0, list[bytes]()
        with suppress(IndexError):  # Nothing is left.
            while size < MOST_BYTES:
                written = self._written.popleft()
                spans += written.spans
                size += len(written.body)
                parts.append(written.body)
        try:
            cause = self._way.send(self._encoder.request(parts))
        except Exception as error:  # noqa: BLE001 - whatever it is, the next batch is another try
            cause = type(error).__name__
        if cause:
            self._say(cause, spans)

    def _say(self, cause: str, spans: int) -> None:
        """Say that spans do not arrive; once a minute."""
        if time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + _QUIET_SECONDS
            facts = {"to": self._place, "spans": spans, "cause": cause}
            log.warning("traces not sent", extra=facts)
