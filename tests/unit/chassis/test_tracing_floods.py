"""Spans that strangers have made: how much of them is kept, and that none takes others along."""

from dataclasses import replace

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2 as pb

from services.chassis.context import current, local_context
from services.chassis.tracing import names
from services.chassis.tracing.otlp import MOST_NAMES, Encoder
from services.chassis.tracing.sampling import Sampling
from services.chassis.tracing.spans import MOST_CHARACTERS, Span, record_to, span


def sent(spans: list[Span]) -> list[pb.Span]:
    """As a collector gets them."""
    encoder = Encoder({}, {})
    told = [each for each in map(encoder.span, spans) if each is not None]
    request = ExportTraceServiceRequest.FromString(encoder.request(told))
    return list(request.resource_spans[0].scope_spans[0].spans)


def encoded(spans: list[Span]) -> list[str]:
    """The names of those that are sent."""
    return [each.name for each in sent(spans)]


def test_a_prompt_is_cut(recorded: list[Span]) -> None:
    record_to(recorded.append, Sampling(), content=True)
    prompt = "x" * 1_000_000
    with span("invoke_agent x", facts={names.INPUT: prompt}) as invoking:
        invoking.set(names.OUTPUT, prompt)
        invoking.event("warning", {"said": prompt})

    (told,) = sent(recorded)
    said = [*told.attributes, *told.events[0].attributes]
    assert [len(each.value.string_value) for each in said] == [MOST_CHARACTERS] * 3


@pytest.mark.parametrize(
    "facts",
    [{"said": "half a pair \ud800"}, {"n": 2**70}, {"all": ["\udfff"]}, {"all": [1]}, {"n": None}],
)
def test_a_span_that_cannot_be_encoded_takes_no_others_along(
    recorded: list[Span], facts: dict[str, object]
) -> None:
    span("before").end()
    span("bad", facts=facts).end()  # type: ignore[arg-type]
    span("after").end()

    assert encoded(recorded) == ["before", "after"]


def test_nor_does_one_of_a_time_that_cannot_be_written(recorded: list[Span]) -> None:
    span("before").end()
    span("bad").end()
    recorded[-1].start_ns = -1

    assert encoded(recorded) == ["before"]


@pytest.mark.parametrize("trace_id", ["", "abcd", "zz" * 16, "ab" * 17])
def test_nor_does_one_whose_ids_are_none(recorded: list[Span], trace_id: str) -> None:
    span("before").end()
    with span("linked") as linked:
        linked.link(trace_id or "abc", "cd" * 8)
    current.set(replace(current.get(), trace_id=trace_id))
    span("bad").end()
    current.set(local_context())
    span("after").end()

    assert encoded(recorded) == ["before", "after"]


def test_names_that_strangers_make_up_are_told_apart_up_to_a_number(recorded: list[Span]) -> None:
    for number in range(MOST_NAMES + 100):
        span(f"execute_tool made-up-{number}").end()
    span("execute_tool made-up-7").end()

    sent = encoded(recorded)

    assert len(set(sent)) == MOST_NAMES + 1
    assert sent[-2:] == ["execute_tool", "execute_tool made-up-7"]
