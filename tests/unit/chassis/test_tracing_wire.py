"""Spans on the wire, held against the library's own messages."""

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2 as pb

from services.chassis.context import LOCAL, RequestContext
from services.chassis.tracing.otlp import Encoder
from services.chassis.tracing.spans import CONSUMER, SERVER, Facts, Span, Value

INT64 = 1 << 63
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
values: st.SearchStrategy[Value] = st.one_of(
    texts,
    st.booleans(),
    st.integers(-INT64, INT64 - 1),
    st.floats(allow_nan=False),
    st.lists(texts, max_size=3),
)
facts = st.dictionaries(texts, values, max_size=6)
times = st.integers(0, 2**64 - 1)
trace_ids = st.binary(min_size=16, max_size=16).map(bytes.hex)
span_ids = st.binary(min_size=8, max_size=8).map(bytes.hex)


@st.composite
def spans(draw: st.DrawFn) -> Span:
    trace_id, span_id = draw(trace_ids), draw(span_ids)
    here = RequestContext(
        LOCAL,
        "req_1",
        trace_id,
        span_id,
        tracestate=draw(st.sampled_from(["", "vendor=1"])),
        parent_id=draw(st.one_of(st.just(""), span_ids)),
    )
    made = Span(draw(texts), draw(st.integers(1, 5)), here, draw(facts), draw(facts))
    made.start_ns, made.end_ns = draw(times), draw(times)
    made.events = draw(st.lists(st.tuples(texts, times, facts), max_size=3))
    made.links = draw(st.lists(st.tuples(trace_ids, span_ids), max_size=2))
    made.failure = draw(st.sampled_from(["", "ENGINE_FAILED"]))
    return made


def value(of: Value) -> common_pb2.AnyValue:
    if isinstance(of, str):
        return common_pb2.AnyValue(string_value=of)
    if isinstance(of, bool):
        return common_pb2.AnyValue(bool_value=of)
    if isinstance(of, int):
        return common_pb2.AnyValue(int_value=of)
    if isinstance(of, float):
        return common_pb2.AnyValue(double_value=of)
    items = common_pb2.ArrayValue(values=map(value, of))
    return common_pb2.AnyValue(array_value=items)


def pairs(of: Facts) -> list[common_pb2.KeyValue]:
    return [common_pb2.KeyValue(key=name, value=value(each)) for name, each in of.items()]


def by_the_library(of: Span) -> pb.Span:
    here = of.context
    return pb.Span(
        trace_id=bytes.fromhex(here.trace_id),
        span_id=bytes.fromhex(here.span_id),
        trace_state=here.tracestate,
        parent_span_id=bytes.fromhex(here.parent_id),
        name=of.name,
        kind=of.kind,  # type: ignore[arg-type] # They are the same numbers.
        start_time_unix_nano=of.start_ns,
        end_time_unix_nano=of.end_ns,
        attributes=[*pairs(of.always), *pairs(of.facts)],
        events=[
            pb.Span.Event(name=name, time_unix_nano=at, attributes=pairs(said))
            for name, at, said in of.events
        ],
        links=[
            pb.Span.Link(trace_id=bytes.fromhex(trace_id), span_id=bytes.fromhex(span_id))
            for trace_id, span_id in of.links
        ],
        status=pb.Status(code=pb.Status.STATUS_CODE_ERROR) if of.failure else None,
        flags=0x301 if of.kind in {SERVER, CONSUMER} else 0x101,
    )


def sent_by(encoder: Encoder, batch: list[Span]) -> ExportTraceServiceRequest:
    encoded = [encoder.span(each) for each in batch]
    whole = encoder.request([each for each in encoded if each is not None])
    return ExportTraceServiceRequest.FromString(whole)


@given(st.lists(spans(), max_size=4))
def test_a_batch_is_what_the_library_makes_of_it(batch: list[Span]) -> None:
    encoder = Encoder({"service.name": "test"}, {})

    sent = [sent_by(encoder, batch) for _ in range(2)]

    scope = pb.ScopeSpans(
        scope=common_pb2.InstrumentationScope(name="runplane"), spans=map(by_the_library, batch)
    )
    resource = Resource(attributes=pairs({"service.name": "test"}))
    whole = pb.ResourceSpans(resource=resource, scope_spans=[scope])
    assert sent == [ExportTraceServiceRequest(resource_spans=[whole])] * 2


def test_a_name_is_another_one_in_an_older_set() -> None:
    here = RequestContext(LOCAL, "req_1", "a" * 32, "b" * 16)
    encoder = Encoder({}, {"new": "old"})

    request = sent_by(encoder, [Span("x", 1, here, {"new": "1", "same": 2})])

    (sent,) = request.resource_spans[0].scope_spans[0].spans
    assert [each.key for each in sent.attributes] == ["old", "same"]
