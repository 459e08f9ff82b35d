"""Collectors that do as no collector should: what they cost, and that somebody hears of it."""

import socket
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import Event
from time import monotonic

import pytest
from pydantic import ValidationError

from services.chassis.context import current, local_context
from services.chassis.process import faults
from services.chassis.settings import TelemetrySettings
from services.chassis.tracing.batches import Way
from services.chassis.tracing.grpc_way import GrpcWay
from services.chassis.tracing.http import HttpWay
from services.chassis.tracing.setup import tracing
from services.chassis.tracing.spans import span
from tests.servers.misbehaving import Behaviour, misbehaving, silent

QUEUED = 100_000  # Several batches, each of which would be waited for.
UNPACKED, PART = 32 * 1024 * 1024, 64 * 1024
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n"


def unwilling(connection: socket.socket) -> None:
    """Knows nobody."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n")


def endless(left: Event, connection: socket.socket) -> None:
    """An answer without an end, a byte at a time, until nobody reads it."""
    connection.recv(65536)
    connection.sendall(HEAD + b"\r\n")
    try:
        while not left.wait(0.02):
            connection.sendall(b"x")
    except OSError:
        left.set()


def packed(connection: socket.socket) -> None:
    """An answer that is large once it is unpacked."""
    connection.recv(65536)
    packing = zlib.compressobj(wbits=31)
    parts = [packing.compress(bytes(PART)) for _ in range(UNPACKED // PART)]
    bomb = b"".join([*parts, packing.flush()])
    connection.sendall(HEAD + b"content-encoding: gzip\r\n")
    connection.sendall(b"content-length: %d\r\n\r\n" % len(bomb) + bomb)


def junk(connection: socket.socket) -> None:
    """What is neither HTTP nor gRPC."""
    connection.recv(65536)
    connection.sendall(b"\x00\xff\r\n" * 100)


def elsewhere(place: str, connection: socket.socket) -> None:
    """Sends those who ask to another place, with all that they have."""
    connection.recv(65536)
    head = f"HTTP/1.1 307 No\r\nlocation: {place}\r\ncontent-length: 0\r\n\r\n"
    connection.sendall(head.encode())


@contextmanager
def behaving(behaviour: Behaviour) -> Iterator[str]:
    """A collector that does so with each connection; its URL."""
    with misbehaving(behaviour) as place:
        yield f"http://{place}"


@pytest.mark.usefixtures("in_a_request")
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_the_end_of_a_process_does_not_wait_for_a_collector(protocol: str) -> None:
    with behaving(silent) as url:
        settings = TelemetrySettings(endpoint=url, protocol=protocol, timeout="500ms")
        with tracing("test", settings):
            current.set(local_context())
            for _ in range(QUEUED):
                span("chat m").end()
            end = monotonic()

        assert monotonic() - end < 5.0  # Without a bound it is 60: the collector's own patience.


def sent(way: Way) -> str:
    """What became of a request, whose sender has a header that nobody else should see."""
    try:
        return way.send(b"spans")
    finally:
        way.close()


HEADERS = {"authorization": "s3cret"}


@pytest.mark.parametrize("behaviour", [silent, junk])
def test_grpc_says_what_it_met(behaviour: Behaviour) -> None:
    with behaving(behaviour) as url:
        assert sent(GrpcWay(url, HEADERS, 0.5)) in {"DEADLINE_EXCEEDED", "UNAVAILABLE"}


@pytest.mark.parametrize(
    ("behaviour", "met"),
    [(silent, "ReadTimeout"), (junk, "RemoteProtocolError"), (unwilling, "HTTP 401")],
)
def test_http_says_what_it_met(behaviour: Behaviour, met: str) -> None:
    with behaving(behaviour) as url:
        assert sent(HttpWay(url, HEADERS, 0.5)) == met


def test_who_sends_spans_elsewhere_does_not_get_them_there() -> None:
    came = list[bytes]()

    def another(connection: socket.socket) -> None:
        came.append(connection.recv(65536))

    with behaving(another) as there, behaving(partial(elsewhere, there)) as url:
        assert sent(HttpWay(url, HEADERS, 0.5)) == "HTTP 307"

    assert came == []


def test_an_answer_without_an_end_is_left() -> None:
    left = Event()
    with behaving(partial(endless, left)) as url:
        assert sent(HttpWay(url, HEADERS, 0.5)) == ""
        assert left.wait(30)


def test_an_answer_that_is_packed_is_not_unpacked() -> None:
    with behaving(packed) as url:
        tracemalloc.start()
        try:
            assert sent(HttpWay(url, HEADERS, 5.0)) == ""
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert peak < UNPACKED // 8


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
