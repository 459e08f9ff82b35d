"""Collectors that do as no collector should: what they cost, and that somebody hears of it."""

import gzip
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Thread
from time import monotonic

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult
from pydantic import ValidationError

from services.chassis.context import current, local_context
from services.chassis.process import faults
from services.chassis.settings import TelemetrySettings
from services.chassis.tracing.export import _Exporter
from services.chassis.tracing.setup import tracing
from services.chassis.tracing.spans import span

Behaviour = Callable[[socket.socket, Event], None]

QUEUED = 5_000  # Ten batches, each of which would be waited for.
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n"


def silent(connection: socket.socket, over: Event) -> None:
    """Takes something, and says nothing."""
    connection.recv(65536)
    over.wait(60)


def endless(connection: socket.socket, over: Event) -> None:
    """An answer without an end, a byte at a time."""
    connection.recv(65536)
    connection.sendall(HEAD + b"\r\n")
    while not over.wait(0.05):
        connection.sendall(b"x")


def packed(connection: socket.socket, over: Event) -> None:
    """An answer that is 256 MiB once it is unpacked."""
    connection.recv(65536)
    bomb = b"".join(gzip.compress(bytes(16 * 1024 * 1024)) for _ in range(16))
    connection.sendall(HEAD + b"content-encoding: gzip\r\n")
    connection.sendall(b"content-length: %d\r\n\r\n" % len(bomb) + bomb)


def junk(connection: socket.socket, _: Event) -> None:
    """What is neither HTTP nor gRPC."""
    connection.recv(65536)
    connection.sendall(b"\x00\xff\r\n" * 100)


def elsewhere(connection: socket.socket, _: Event) -> None:
    """Sends those who ask to another place, with all that they have."""
    connection.recv(65536)
    answer = b"HTTP/1.1 307 No\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
    connection.sendall(answer)


@contextmanager
def behaving(as_it_does: Behaviour) -> Iterator[str]:
    """A server that does so with each connection; its URL."""
    over, threads = Event(), list[Thread]()

    def one(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            as_it_does(connection, over)

    def all_of_them(listening: socket.socket) -> None:
        with suppress(OSError):
            while not over.is_set():
                connection, _ = listening.accept()
                connection.settimeout(10)
                threads.append(Thread(target=one, args=(connection,)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepting = Thread(target=all_of_them, args=(listening,))
        accepting.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for each in threads:
                each.join()


@pytest.mark.parametrize(
    ("protocol", "behaviour"),
    [
        ("grpc", silent),
        ("grpc", junk),
        ("http/protobuf", silent),
        ("http/protobuf", endless),
        ("http/protobuf", packed),
        ("http/protobuf", junk),
        ("http/protobuf", elsewhere),
    ],
)
def test_the_end_of_a_process_does_not_wait_for_a_collector(
    protocol: str, behaviour: Behaviour
) -> None:
    with behaving(behaviour) as url:
        settings = TelemetrySettings(endpoint=url, protocol=protocol, timeout="1s")
        with tracing("test", settings):
            current.set(local_context())
            for _ in range(QUEUED):
                span("chat m").end()
            end = monotonic()

        assert monotonic() - end < 5.0


class Broken:
    """A way to a collector that has a bug."""

    def export(self, spans: Sequence[object]) -> SpanExportResult:
        """Fail."""
        raise UnicodeError(f"s3cret {len(spans)}")

    def shutdown(self) -> None:
        """Nothing."""


def test_a_way_that_fails_on_the_inside_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    exporter = _Exporter(Broken(), "collector:4317")
    results = {exporter.export([]) for _ in range(3)}

    assert results == {SpanExportResult.FAILURE}
    assert [each.message for each in caplog.records] == ["traces not sent"]
    assert vars(caplog.records[0])["cause"] == "UnicodeError"


@pytest.mark.parametrize(
    "said",
    [
        {"endpoint": "http://ann:s3cret@127.0.0.1:4317"},
        {"endpoint": "http://s3cret:s3cret"},
        {"endpoint": "s3cret"},
        {"headers": "Bearer s3cret"},  # grpc writes names that it does not take to stderr.
        {"headers": "a=1,Bearer s3cret=1"},
        {"headers": "authorization=s3cret\u20ac"},
        {"headers": "authorization=s3cret\r\nx: y"},
    ],
)
def test_what_a_collector_cannot_be_reached_with_is_refused_and_not_repeated(
    said: dict[str, str],
) -> None:
    with pytest.raises(ValidationError) as caught:
        TelemetrySettings.model_validate(said)

    assert "s3cret" not in "".join(faults(caught.value))


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1:4317",
        "https://otel.example/otlp/v1/traces",
        "http://[::1]:4317",
        "http://collector.observability.svc.cluster.local:4318/",
    ],
)
def test_addresses_of_collectors_are_taken(endpoint: str) -> None:
    headers = "authorization=Bearer a=b==, x-scope-orgid=1,"

    assert TelemetrySettings(endpoint=endpoint, headers=headers).endpoint == endpoint
