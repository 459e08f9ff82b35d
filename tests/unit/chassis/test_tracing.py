"""Spans before they are sent: whose part they are, what they say, and that they cost nothing."""

import subprocess
import sys
from collections.abc import Sequence

import pytest

from services.chassis.context import current, from_metadata, local_context, resumed
from services.chassis.errors import NotFound
from services.chassis.eventbus.port import Message
from services.chassis.settings import TelemetrySettings
from services.chassis.tracing.messaging import publish, received
from services.chassis.tracing.sampling import Sampling, sampler
from services.chassis.tracing.spans import (
    NOTHING,
    Span,
    entered,
    life,
    life_id,
    record_to,
    span,
)

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def came_in(flags: str = "01", **metadata: str) -> None:
    pairs = [("traceparent", f"00-{TRACE}-{CALLER}-{flags}"), *metadata.items()]
    current.set(from_metadata(pairs))


@pytest.mark.usefixtures("in_a_request")
def test_without_a_collector_a_span_is_the_same_nothing_every_time() -> None:
    came_in()

    assert span("chat") is NOTHING
    assert entered("Invoke") is NOTHING


def test_without_a_collector_nothing_is_imported_that_sends() -> None:
    code = (
        "import sys, services.orchestrator.app, services.workflow.app, gateway.app\n"
        "from services.chassis.settings import TelemetrySettings\n"
        "from services.chassis.tracing.setup import tracing\n"
        "with tracing('x', TelemetrySettings(endpoint=None)):\n"
        "    print([each for each in sys.modules if each.endswith('tracing.export')])\n"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "[]"


def test_a_call_that_comes_in_is_a_part_of_its_caller(recorded: list[Span]) -> None:
    came_in(tracestate="vendor=1")
    with entered("Invoke"):
        here = current.get()
        with span("chat"):
            inside = current.get()

    assert [each.name for each in recorded] == ["chat", "Invoke"]
    assert (here.trace_id, here.parent_id) == (TRACE, CALLER)
    assert (inside.trace_id, inside.parent_id) == (TRACE, here.span_id)
    assert dict(inside.metadata())["traceparent"] == f"00-{TRACE}-{inside.span_id}-01"
    assert dict(inside.metadata())["tracestate"] == "vendor=1"


def test_a_caller_that_does_not_record_is_followed(recorded: list[Span]) -> None:
    came_in("00")
    with entered("Invoke"), span("chat"):
        sent = dict(current.get().metadata())

    assert recorded == []
    assert sent["traceparent"].endswith("-00")


def test_what_is_raised_marks_a_span_by_its_reason(recorded: list[Span]) -> None:
    came_in()
    with pytest.raises(NotFound), span("execute_tool x"):
        raise NotFound("TOOL_NOT_FOUND", "there is no secret-name")

    assert recorded[0].failure == "TOOL_NOT_FOUND"
    assert "secret-name" not in str(recorded[0].facts)


def test_a_span_holds_a_bounded_amount(recorded: list[Span]) -> None:
    came_in()
    with span("chat") as talking:
        for _ in range(1000):
            talking.event("retry")
            talking.link(TRACE, CALLER)

    assert (len(recorded[0].events), len(recorded[0].links)) == (64, 64)


@pytest.mark.usefixtures("in_a_request")
def test_what_is_no_trace_state_is_not_passed_on() -> None:
    came_in(tracestate="a=\u00e9")

    assert "tracestate" not in dict(current.get().metadata())


@pytest.mark.usefixtures("in_a_request")
def test_baggage_is_not_passed_on() -> None:
    came_in(baggage="user=alice")

    assert "baggage" not in dict(current.get().metadata())


@pytest.mark.parametrize(
    ("name", "share", "said", "taken"),
    [
        ("always_on", 0.0, False, True),
        ("always_off", 1.0, True, False),
        ("traceidratio", 0.0, True, False),
        ("parentbased_always_off", 1.0, True, True),
        ("parentbased_always_on", 0.0, False, False),
        ("parentbased_traceidratio", 1.0, None, True),
        ("parentbased_traceidratio", 0.0, None, False),
    ],
)
def test_samplers_decide_as_opentelemetry_says(
    name: str, share: float, said: bool | None, taken: bool
) -> None:
    assert sampler(name, share).takes(TRACE, said) is taken


def test_every_process_takes_the_same_traces() -> None:
    record_to(None, Sampling(0.5))
    first = local_context()
    again = resumed("default", "local", first.trace_id)
    record_to(None, Sampling())

    assert first.sampled is again.sampled


def test_settings_have_the_defaults_that_opentelemetry_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4317")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
    generic = TelemetrySettings()
    monkeypatch.setenv("RUNPLANE_TELEMETRY_ENDPOINT", "http://ours:4317")
    own = TelemetrySettings()

    assert (generic.endpoint, generic.share) == ("http://all:4317", 0.25)
    assert own.endpoint == "http://ours:4317"


def test_a_later_life_is_a_part_of_the_first_and_linked_to_the_one_before(
    recorded: list[Span],
) -> None:
    came_in()
    first = life("invoke_agent x", {}, whole="task_1", number=1)
    first.end()
    current.set(resumed("another", "elsewhere", TRACE))
    with life("invoke_agent x", {}, whole="task_1", number=3):
        pass

    begun, later = recorded
    assert begun.context.parent_id != ""
    assert (later.context.trace_id, later.context.parent_id) == (TRACE, begun.context.span_id)
    assert later.links == ((TRACE, life_id("task_1", 2)),)


def test_work_that_no_span_asked_for_is_a_part_of_none(recorded: list[Span]) -> None:
    with span("append events"):
        pass

    assert recorded[0].context.parent_id == ""


def test_work_of_the_same_request_goes_on_in_its_context(recorded: list[Span]) -> None:
    came_in()

    assert resumed("default", "local", TRACE).span_id == current.get().span_id
    assert resumed("other", "local", TRACE).span_id != current.get().span_id


class Bus:
    """Takes everything, or nothing."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault
        self.taken: list[Message] = []

    async def publish(self, messages: Sequence[Message]) -> None:
        if self.fault is not None:
            raise self.fault
        self.taken += messages


def message(flags: str = "01") -> Message:
    return Message("t", "k", b"v", {"traceparent": f"00-{TRACE}-{CALLER}-{flags}", "ce_id": "1"})


async def test_a_message_carries_its_trace_to_who_reads_it(recorded: list[Span]) -> None:
    bus = Bus()
    await publish(bus, [message()])
    (taken,) = bus.taken
    with received(taken, taken.headers["traceparent"], "default"), span("append events"):
        pass

    sent, inner, read = recorded
    assert (sent.name, sent.context.trace_id, sent.context.parent_id) == ("send t", TRACE, CALLER)
    assert (read.name, read.context.parent_id) == ("process t", sent.context.span_id)
    assert inner.context.parent_id == read.context.span_id


async def test_a_message_whose_trace_is_not_recorded_goes_as_it_is(recorded: list[Span]) -> None:
    bus, plain = Bus(), Message("t", "k", b"v", {})
    await publish(bus, [message("00")])
    record_to(None, Sampling())
    await publish(bus, [plain])

    assert bus.taken == [message("00"), plain]
    assert recorded == []


async def test_a_message_that_is_not_taken_is_a_failed_span(recorded: list[Span]) -> None:
    with pytest.raises(NotFound):
        await publish(Bus(NotFound("TOPIC_MISSING", "there is none")), [message()])

    assert [each.failure for each in recorded] == ["not_sent"]
