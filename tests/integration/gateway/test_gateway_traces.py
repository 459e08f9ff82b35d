"""Traces that strangers name, and what of their requests the edge's spans have."""

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from services.chassis.tracing import names
from services.chassis.tracing.sampling import sampler
from services.chassis.tracing.spans import Span, record_to
from tests.integration.gateway.fakes import Suite, suite
from tests.integration.gateway.rpc import headers as of_mcp
from tests.integration.gateway.rpc import message
from tests.integration.gateway.talk import START, socket

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=1"}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def public() -> AsyncIterator[Suite]:
    """An edge that strangers reach."""
    async with suite(follow_traces=False) as running:
        yield running


def of_edge(spans: list[Span]) -> Span:
    """The span of a request, whose services run in this process too."""
    return next(each for each in spans if names.HTTP_METHOD in each.facts)


async def asked(edge: Suite, path: str = "/v1/models") -> dict[str, str | bytes]:
    """A request with a trace of its own; the metadata that a service saw, if one was called."""
    edge.script.reset()
    async with httpx2.AsyncClient(base_url=f"http://{edge.edge.address}", timeout=5) as http:
        await http.get(path, headers=SAMPLED)
    return next(iter(edge.script.metadata), {})


async def test_where_traces_are_followed_a_request_is_a_part_of_its_callers(
    edge: Suite, recorded: list[Span]
) -> None:
    seen = await asked(edge)

    span = of_edge(recorded)
    assert (span.context.trace_id, span.context.parent_id) == (TRACE, SPAN)
    assert (str(seen["traceparent"])[3:35], seen["tracestate"]) == (TRACE, "vendor=1")


async def test_where_they_are_not_it_begins_one_and_is_linked_to_its_callers(
    public: Suite, recorded: list[Span]
) -> None:
    seen = await asked(public)

    span = of_edge(recorded)
    assert (span.context.trace_id != TRACE, span.context.parent_id) == (True, "")
    assert span.links == ((TRACE, SPAN),)
    assert str(seen["traceparent"])[3:35] == span.context.trace_id
    assert "tracestate" not in seen


async def test_there_no_stranger_decides_what_is_recorded(
    public: Suite, recorded: list[Span]
) -> None:
    record_to(recorded.append, sampler("parentbased_traceidratio", 0.0))

    seen = await asked(public)

    assert recorded == []
    assert str(seen["traceparent"]).endswith("-00")


async def test_the_same_holds_for_websockets(public: Suite, recorded: list[Span]) -> None:
    async with socket(public, additional_headers=SAMPLED) as client:
        await client.send(START)
        await client.recv()
    seen = public.script.metadata[-1]

    assert str(seen["traceparent"])[3:35] != TRACE


async def told_by_mcp(edge: Suite, version: str) -> dict[str, str | bytes]:
    """The metadata of what a request of MCP led to, whose `_meta` names a trace."""
    edge.script.reset()
    sent = message("resources/read", {"uri": "weather://now"})
    sent["params"]["_meta"].update(SAMPLED)
    headers = {**of_mcp(sent), "MCP-Protocol-Version": version}
    async with httpx2.AsyncClient(base_url=f"http://{edge.edge.address}", timeout=5) as http:
        await http.post("/mcp", json=sent, headers=headers)
    return edge.script.metadata[-1]


async def ended(spans: list[Span]) -> Span:
    """The span of a request, which may end after its client has the end of a stream."""
    async with asyncio.timeout(5):
        while not any(names.HTTP_METHOD in each.facts for each in spans):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    return of_edge(spans)


@pytest.mark.parametrize("version", ["2026-07-28", "2025-06-18"])
async def test_what_mcp_says_beside_a_request_is_followed_too(
    edge: Suite, recorded: list[Span], version: str
) -> None:
    seen = await told_by_mcp(edge, version)

    span = await ended(recorded)
    assert (str(seen["traceparent"])[3:35], seen["tracestate"]) == (TRACE, "vendor=1")
    assert span.links == ()


@pytest.mark.parametrize("version", ["2026-07-28", "2025-06-18"])
async def test_where_it_is_not_the_request_is_linked_to_it(
    public: Suite, recorded: list[Span], version: str
) -> None:
    seen = await told_by_mcp(public, version)

    span = await ended(recorded)
    assert span.links == ((TRACE, SPAN),)
    assert str(seen["traceparent"])[3:35] == span.context.trace_id
    assert "tracestate" not in seen


async def test_a_path_that_leads_nowhere_is_in_no_span(edge: Suite, recorded: list[Span]) -> None:
    await asked(edge, "/v1/key/s3cret?key=s3cret")
    await asked(edge, "/v1/tools/calculator?key=s3cret")

    nowhere, found = [each for each in recorded if names.HTTP_METHOD in each.facts]
    assert nowhere.name == "GET"
    assert found.facts[names.URL_PATH] == "/v1/tools/calculator"
    assert "s3cret" not in str([each.facts for each in recorded])
