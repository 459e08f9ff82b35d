"""What an attacker tried: the edge refuses it, or lets go of it."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import httpx2
import psutil
import pytest

from tests.integration.gateway.fakes import Script, Suite, suite
from tests.integration.gateway.wire import Wire, request, wire

pytestmark = pytest.mark.asyncio(loop_scope="module")

BRIEF = timedelta(milliseconds=50)
STREAM = request("POST", "/v1/agent/stream", b'{"query": "x"}', "Content-Type: application/json")
CHUNKED = (
    b"POST /v1/agent/invoke HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


@pytest.mark.parametrize(
    "body",
    [
        b'{"timeout_ms":true,"timeout_ms":"\\ud800"}',
        b'{"limits":5,"limits":{"\\ud800":1}}',
        b'{"\\ud800":1}',
        b'{"query":"\\ud800"}',
    ],
)
async def test_half_a_surrogate_pair_is_refused_in_words(
    edge: Suite, http: httpx2.AsyncClient, body: bytes
) -> None:
    reply = await http.post(
        "/v1/agent/invoke", content=body, headers={"Content-Type": "application/json"}
    )

    assert reply.status_code == 400
    assert reply.json()["error_code"] in {"JSON_INVALID", "INVALID_REQUEST"}
    assert not edge.script.requests


async def test_a_body_of_too_many_values_is_refused_unread(
    edge: Suite, http: httpx2.AsyncClient
) -> None:
    reply = await http.post("/v1/agent/invoke", json={"messages": [{}] * 130_000})

    assert (reply.status_code, reply.json()["error_code"]) == (413, "BODY_TOO_LARGE")
    assert not edge.script.requests


async def test_a_fault_deep_in_a_large_body_is_named_shortly(
    edge: Suite, http: httpx2.AsyncClient
) -> None:
    schema = {"k" * 100_000: [0] * 10_000 + [2**60]}

    reply = await http.post("/v1/agent/invoke", json={"query": "x", "response_schema": schema})

    assert (reply.status_code, reply.json()["error_code"]) == (400, "INVALID_REQUEST")
    assert len(reply.content) < 4_000


async def test_a_client_that_goes_with_more_in_the_pipeline_is_gone_for_its_stream_too() -> None:
    script = Script(messages=0, hangs=True)
    async with suite(script) as edge, asyncio.timeout(5):
        async with wire(edge.port) as client:
            await client.send(STREAM + request("GET", "/healthz"))
            await edge.script.arrived.wait()

        await edge.script.cancelled.wait()


async def test_empty_lines_buy_a_connection_no_time() -> None:
    limits = {"head_timeout": BRIEF}
    async with suite(limits=limits) as edge, asyncio.timeout(5), wire(edge.port) as client:
        await client.send(request("GET", "/healthz"))
        await client.answer()
        await client.send(b"\r\n")

        assert not await client.reader.read()


async def test_a_client_that_does_not_read_its_answer_is_let_go() -> None:
    script = Script(messages=100_000, text="x" * 10_000)
    limits = {"stall_timeout": BRIEF}
    async with suite(script, limits=limits) as edge, asyncio.timeout(20), wire(edge.port) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(STREAM)
        await edge.script.arrived.wait()

        while accepted(edge.port):  # noqa: ASYNC110 - the sweep tells nobody
            await asyncio.sleep(0.02)


def accepted(port: int) -> list[object]:
    """The connections that the edge holds."""
    connections = psutil.Process().net_connections("tcp")
    held = [each for each in connections if each.laddr.port == port and each.raddr]
    return [each for each in held if each.status == psutil.CONN_ESTABLISHED]


@pytest.mark.parametrize(
    ("begun", "piece"),
    [
        (b"GET /healthz HTTP/1.1\r\na: ", b"x"),
        (b"GET /healthz HTTP/1.1\r\n", b"x"),
        (b"GET /", b"x"),
        (b"", b"\r\n"),
        (CHUNKED + b"0\r\na: ", b"x"),
        (CHUNKED + b"1;", b"x"),
    ],
)
async def test_a_line_without_an_end_is_not_read_for_long(begun: bytes, piece: bytes) -> None:
    async with suite() as edge, asyncio.timeout(5), wire(edge.port) as client:
        taken = await pushed(client, begun, piece * (65_536 // len(piece)))

    assert taken < 16 * 1024 * 1024


async def pushed(client: Wire, begun: bytes, piece: bytes) -> int:
    """How much a connection takes before it is ended; what is under way counts, too."""
    taken = 0
    with suppress(OSError):
        await client.send(begun)
        while not client.reader.at_eof():
            await client.send(piece)
            taken += len(piece)
    return taken
