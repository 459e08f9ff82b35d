"""The edge's spans: how what they are of ended."""

import asyncio

import httpx2
import pytest
import pytest_asyncio

from services.chassis.errors import Unavailable
from services.chassis.tracing import names
from services.chassis.tracing.sampling import Sampling
from services.chassis.tracing.spans import Span, record_to
from tests.integration.gateway.fakes import Suite
from tests.integration.gateway.talk import PATH, ending, refusal, socket

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONVERSATION = f"GET {PATH}"


@pytest_asyncio.fixture(loop_scope="module")
async def spans(recorded: list[Span]) -> "asyncio.Queue[Span]":
    """Spans as they end, the fakes' among them."""
    assert not recorded
    ended: asyncio.Queue[Span] = asyncio.Queue()
    record_to(ended.put_nowait, Sampling())
    return ended


async def ended(spans: "asyncio.Queue[Span]", name: str) -> Span:
    """The next span of this name."""
    async with asyncio.timeout(5):
        while (span := await spans.get()).name != name:
            pass
    return span


async def test_a_socket_that_ended_well_was_switched_to(
    edge: Suite, spans: "asyncio.Queue[Span]"
) -> None:
    async with socket(edge) as client:
        await client.send('{"cancel": {"reason": "enough"}}')
        await ending(client)

    span = await ended(spans, CONVERSATION)
    assert (span.facts[names.HTTP_STATUS], span.failure) == (101, "")


async def test_a_socket_that_failed_says_with_what(
    edge: Suite, spans: "asyncio.Queue[Span]"
) -> None:
    edge.script.error = Unavailable("ENGINE_FAILED", "gone")
    async with socket(edge) as client:
        await client.send('{"start": {"query": "x"}}')
        await ending(client)

    span = await ended(spans, CONVERSATION)
    assert (span.facts[names.HTTP_STATUS], span.failure) == (503, "503")


async def test_a_socket_that_is_refused_says_so(edge: Suite, spans: "asyncio.Queue[Span]") -> None:
    await refusal(edge, PATH + "?a=b")

    span = await ended(spans, CONVERSATION)
    assert span.facts[names.HTTP_STATUS] == 400


async def test_a_stream_that_fails_in_the_middle_failed(
    edge: Suite, http: httpx2.AsyncClient, spans: "asyncio.Queue[Span]"
) -> None:
    edge.script.error, edge.script.error_after = Unavailable("ENGINE_FAILED", "gone"), 2
    reply = await http.post("/v1/agent/stream", json={"query": "x"})

    span = await ended(spans, "POST /v1/agent/stream")
    assert reply.status_code == 200
    assert (span.facts[names.HTTP_STATUS], span.failure) == (503, "503")


@pytest.mark.parametrize("reason", ["SERVICE_STOPPING", "EDGE_STOPPING"])
async def test_a_stream_that_is_sent_to_another_replica_did_not_fail(
    edge: Suite, http: httpx2.AsyncClient, spans: "asyncio.Queue[Span]", reason: str
) -> None:
    edge.script.error, edge.script.error_after = Unavailable(reason, "another goes on"), 1
    reply = await http.get("/v1/tasks/task_1:watch")

    span = await ended(spans, "GET /v1/tasks/{task_id}:watch")
    assert reason in reply.text
    assert (span.facts[names.HTTP_STATUS], span.failure) == (200, "")
