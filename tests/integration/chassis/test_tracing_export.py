"""Spans on their way to a collector, over a real socket."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import monotonic, sleep
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from services.chassis.context import current, local_context
from services.chassis.settings import TelemetrySettings
from services.chassis.tracing import names
from services.chassis.tracing.setup import tracing
from services.chassis.tracing.spans import CLIENT, span
from tests.servers.otlp import collector

pytestmark = pytest.mark.usefixtures("in_a_request")


@contextmanager
def collected_by_http() -> Iterator[tuple[str, list[tuple[str, str | None, Any]]]]:
    kept: list[tuple[str, str | None, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            request = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
            kept.append((self.path, self.headers["authorization"], request))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", kept
        finally:
            server.shutdown()
            thread.join()


def recorded(settings: TelemetrySettings) -> str:
    """Record a span that says something; its trace."""
    with tracing("test", settings):
        current.set(local_context())
        with span("chat m", CLIENT, {names.PROVIDER: "runplane", names.MODEL: "m"}) as talking:
            talking.event("retry", {"attempt": 2})
            talking.link("a" * 32, "b" * 16)
            talking.fail("ENGINE_FAILED")
        return current.get().trace_id


def test_a_span_arrives_as_it_was() -> None:
    with collector() as kept:
        headers = "authorization=Bearer x, other=1"
        trace = recorded(TelemetrySettings(endpoint=kept.url, headers=headers))

    (arrived,) = kept.of(trace)
    assert (arrived.service, arrived.name, arrived.kind) == ("runplane-test", "chat m", 3)
    assert arrived.facts == {
        "gen_ai.provider.name": "runplane",
        "gen_ai.request.model": "m",
        "error.type": "ENGINE_FAILED",
    }
    assert arrived.events == [("retry", {"attempt": 2})]
    assert arrived.links == [("a" * 32, "b" * 16)]
    assert arrived.is_failed
    assert kept.metadata[0]["authorization"] == "Bearer x"


def test_the_same_arrives_over_http() -> None:
    with collected_by_http() as (url, kept):
        trace = recorded(
            TelemetrySettings(endpoint=url, protocol="http/protobuf", headers="authorization=x")
        )

    (path, authorization, request), *_ = kept
    (span_,) = request.resource_spans[0].scope_spans[0].spans
    assert (path, authorization) == ("/v1/traces", "x")
    assert (span_.name, span_.trace_id.hex()) == ("chat m", trace)


def test_an_older_set_of_names_is_a_setting() -> None:
    with collector() as kept:
        trace = recorded(TelemetrySettings(endpoint=kept.url, conventions="1.36"))

    assert kept.of(trace)[0].facts["gen_ai.system"] == "runplane"


def test_a_collector_that_is_not_there_is_one_line_and_soon_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.socket() as held:  # Bound, and nobody listens.
        held.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{held.getsockname()[1]}"
        settings = TelemetrySettings(endpoint=f"http://{place}", timeout="500ms")
        with caplog.at_level(logging.DEBUG), tracing("test", settings):
            for _ in range(3):
                said = len(caplog.messages)
                current.set(local_context())
                for _ in range(600):  # More than a batch, which is sent at once.
                    span("chat m").end()
                end = monotonic() + 5
                while not said and not caplog.messages and monotonic() < end:
                    sleep(0.01)

    ours = [vars(each) for each in caplog.records if each.name.startswith("services")]
    assert [(each["message"], each["to"]) for each in ours] == [("traces not sent", place)]
    assert ours[0]["cause"] == "DEADLINE_EXCEEDED"
