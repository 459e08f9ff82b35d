"""A collector in the test's own process: takes OTLP by gRPC, and keeps the spans."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc


@dataclass(frozen=True)
class Recorded:
    """A span as it arrived."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    facts: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    links: list[tuple[str, str]]
    is_failed: bool
    start_ns: int
    end_ns: int
    tracestate: str


@dataclass
class Collector(pb_grpc.TraceServiceServicer):
    """What arrived so far."""

    port: int = 0
    requests: list[pb.ExportTraceServiceRequest] = field(default_factory=list)
    spans: list[Recorded] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address, as a setting."""
        return f"http://127.0.0.1:{self.port}"

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the contract's name
        """Keep them."""
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        for of in request.resource_spans:
            service = _facts(of.resource.attributes)["service.name"]
            for scope in of.scope_spans:
                self.spans += [_recorded(service, each) for each in scope.spans]
        return pb.ExportTraceServiceResponse()

    def of(self, trace_id: str) -> list[Recorded]:
        """The spans of a trace, in the order in which they began."""
        found = [each for each in self.spans if each.trace_id == trace_id]
        return sorted(found, key=lambda each: each.start_ns)


@dataclass
class Counter:
    """A collector that takes requests as they are, for next to nothing."""

    port: int = 0
    requests: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address, as a setting."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def count(self) -> int:
        """Spans that arrived so far."""
        read = map(pb.ExportTraceServiceRequest.FromString, self.requests)
        scopes = (scope for each in read for of in each.resource_spans for scope in of.scope_spans)
        return sum(len(scope.spans) for scope in scopes)

    def take(self, request: bytes, _: object) -> bytes:
        """Keep a request."""
        self.requests.append(request)
        return b""


@contextmanager
def collector() -> Iterator[Collector]:
    """One that listens on loopback."""
    kept = Collector()
    with _listening(partial(pb_grpc.add_TraceServiceServicer_to_server, kept)) as port:
        kept.port = port
        yield kept


@contextmanager
def counter() -> Iterator[Counter]:
    """One that only counts."""
    kept = Counter()
    methods: dict[str, Any] = {"Export": grpc.unary_unary_rpc_method_handler(kept.take)}
    service = pb.DESCRIPTOR.services_by_name["TraceService"].full_name
    handler = grpc.method_handlers_generic_handler(service, methods)
    with _listening(lambda server: server.add_generic_rpc_handlers((handler,))) as port:
        kept.port = port
        yield kept


@contextmanager
def _listening(add: Callable[[grpc.Server], None]) -> Iterator[int]:
    server = grpc.server(ThreadPoolExecutor(2))
    add(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait(5)


def tree(spans: list[Recorded]) -> str:
    """A trace as lines, each below what it is a part of."""
    ids = {each.span_id for each in spans}
    lines: list[str] = []

    def add(parent: str, depth: int) -> None:
        for each in spans:
            if (each.parent_id if each.parent_id in ids else "") == parent:
                took = (each.end_ns - each.start_ns) / 1e6
                lines.append(f"{'  ' * depth}{each.name}  [{each.service}, {took:.1f} ms]")
                add(each.span_id, depth + 1)

    add("", 0)
    return "\n".join(lines)


def _recorded(service: str, span: Any) -> Recorded:
    return Recorded(
        service,
        span.name,
        span.kind,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        _facts(span.attributes),
        [(each.name, _facts(each.attributes)) for each in span.events],
        [(each.trace_id.hex(), each.span_id.hex()) for each in span.links],
        span.status.code == 2,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.trace_state,
    )


def _facts(attributes: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind)
