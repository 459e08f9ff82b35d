"""Spans on their way to a collector, over a real socket."""

import logging
import socket
from time import monotonic, sleep

import pytest

from services.chassis.context import current, local_context
from services.chassis.settings import TelemetrySettings
from services.chassis.tracing import names
from services.chassis.tracing.setup import tracing
from services.chassis.tracing.spans import CLIENT, span
from tests.servers.otlp import collector


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


def test_an_older_set_of_names_is_a_setting() -> None:
    with collector() as kept:
        trace = recorded(TelemetrySettings(endpoint=kept.url, conventions="1.36"))

    assert kept.of(trace)[0].facts["gen_ai.system"] == "runplane"


def test_a_collector_that_is_not_there_is_one_line_and_soon_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.socket() as held:  # Bound, and nobody listens.
        held.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{held.getsockname()[1]}"
        settings = TelemetrySettings(endpoint=endpoint, timeout="500ms")
        with caplog.at_level(logging.DEBUG), tracing("test", settings):
            for _ in range(3):
                said = len(caplog.messages)
                current.set(local_context())
                for _ in range(600):  # More than a batch, which is sent at once.
                    span("chat m").end()
                end = monotonic() + 5
                while not said and not caplog.messages and monotonic() < end:
                    sleep(0.01)

    ours = [each for each in caplog.records if each.name.startswith(("services", "opentelemetry"))]
    assert [each.message for each in ours] == ["traces not sent"]
