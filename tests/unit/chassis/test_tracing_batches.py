"""Spans that wait to be sent: how many, in which order, and what is said of those that are lost."""

from threading import Event

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from services.chassis.context import local_context
from services.chassis.tracing.batches import TOGETHER, Batches
from services.chassis.tracing.otlp import Encoder
from services.chassis.tracing.spans import INTERNAL, Facts, Span

LAST_SECONDS = 30.0


class Kept:
    """A way to a collector that keeps what it is given, once it may go on."""

    def __init__(self, fault: Exception | str = "") -> None:
        self.fault = fault
        self.names: list[str] = []
        self.sizes: list[int] = []
        self.has_begun, self.may_go_on = Event(), Event()
        self.may_go_on.set()

    def send(self, request: bytes) -> str:
        """Keep it, or fail."""
        self.has_begun.set()
        assert self.may_go_on.wait(LAST_SECONDS)
        if isinstance(self.fault, Exception):
            raise self.fault
        (of,) = ExportTraceServiceRequest.FromString(request).resource_spans
        (scope,) = of.scope_spans
        self.names += [each.name for each in scope.spans]
        self.sizes.append(len(scope.spans))
        return self.fault

    def close(self) -> None:
        """Nothing."""


def ended(name: str, facts: Facts | None = None) -> Span:
    span = Span(name, INTERNAL, local_context(), facts)
    span.end()
    return span


def batches(way: Kept, most: int = 8192) -> Batches:
    return Batches(way, Encoder({}, {}), place="collector:4317", most=most)


@pytest.mark.parametrize("count", [1, TOGETHER - 1, TOGETHER, 10 * TOGETHER + 1])
def test_all_that_ended_is_sent_in_its_order(count: int) -> None:
    way = Kept()
    waiting = batches(way)
    with waiting.sending(last_seconds=LAST_SECONDS):
        for number in range(count):
            waiting.ended(ended(str(number)))

    assert way.names == [str(number) for number in range(count)]


def test_a_span_is_sent_while_others_do_not_come() -> None:
    way = Kept()
    waiting = batches(way)
    with waiting.sending(last_seconds=LAST_SECONDS):
        waiting.ended(ended("alone"))

        assert way.has_begun.wait(LAST_SECONDS)


def test_when_too_many_wait_the_oldest_give_way(caplog: pytest.LogCaptureFixture) -> None:
    way = Kept()
    way.may_go_on.clear()
    waiting = batches(way, most=10 * TOGETHER)
    with waiting.sending(last_seconds=LAST_SECONDS):
        waiting.ended(ended("first"))
        assert way.has_begun.wait(LAST_SECONDS)
        for number in range(20 * TOGETHER):
            waiting.ended(ended(str(number)))
        way.may_go_on.set()

    assert way.names == ["first", *map(str, range(10 * TOGETHER, 20 * TOGETHER))]
    said = [vars(each) for each in caplog.records]
    assert [(each["message"], each["cause"]) for each in said] == [
        ("traces not sent", "too many wait")
    ]


@pytest.mark.parametrize(
    ("fault", "cause"),
    [("UNAVAILABLE", "UNAVAILABLE"), (UnicodeError("s3cret"), "UnicodeError")],
)
def test_a_way_that_fails_is_said_once_and_tried_again(
    caplog: pytest.LogCaptureFixture, fault: Exception | str, cause: str
) -> None:
    way = Kept(fault)
    waiting = batches(way, most=2 * TOGETHER)
    with waiting.sending(last_seconds=LAST_SECONDS):
        for _ in range(2):
            way.has_begun.clear()
            for _ in range(TOGETHER * 2):
                waiting.ended(ended("x"))
            assert way.has_begun.wait(LAST_SECONDS)

    said = [vars(each) for each in caplog.records]
    assert [(each["message"], each["to"], each["cause"]) for each in said] == [
        ("traces not sent", "collector:4317", cause)
    ]


def test_a_span_that_cannot_be_written_is_said_and_takes_none_along(
    caplog: pytest.LogCaptureFixture,
) -> None:
    way = Kept()
    waiting = batches(way)
    with waiting.sending(last_seconds=LAST_SECONDS):
        waiting.ended(ended("bad", {"said": "half a pair \ud800"}))
        waiting.ended(ended("good"))

    assert way.names == ["good"]
    (said,) = map(vars, caplog.records)
    assert (said["message"], said["spans"]) == ("traces not sent", 1)
    assert said["cause"] == "a span cannot be written"


def test_what_does_not_arrive_in_time_is_lost() -> None:
    way = Kept()
    way.may_go_on.clear()
    waiting = batches(way)
    with waiting.sending(last_seconds=0.0):
        waiting.ended(ended("first"))
        assert way.has_begun.wait(LAST_SECONDS)
        for _ in range(TOGETHER):
            waiting.ended(ended("late"))
    way.may_go_on.set()

    assert "late" not in way.names


def test_what_ends_while_a_batch_is_sent_waits_for_others() -> None:
    way = Kept()
    waiting = batches(way)
    way.may_go_on.clear()
    with waiting.sending(last_seconds=LAST_SECONDS):
        for number in range(TOGETHER):
            waiting.ended(ended(str(number)))
        assert way.has_begun.wait(LAST_SECONDS)
        for number in range(3):
            waiting.ended(ended(f"later {number}"))
            way.may_go_on.set()

    assert way.sizes == [TOGETHER, 3]
