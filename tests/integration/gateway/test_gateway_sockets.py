"""What clients do that speak HTTP badly, slowly or not at all."""

import asyncio
from datetime import timedelta

import pytest

from tests.integration.gateway.fakes import Suite, suite
from tests.integration.gateway.wire import request, wire

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHUNKED = (
    b"POST /v1/agent/invoke HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)


async def test_a_chunked_body_is_read_whole(edge: Suite) -> None:
    async with wire(edge.port) as client, asyncio.timeout(5):
        await client.send(CHUNKED + b'8\r\n{"query"\r\n')
        await client.send(b'6\r\n: "x"}\r\n0\r\n\r\n')
        status, _, body = await client.answer()

    assert (status, body["result"]) == (200, "x")


async def test_a_chunked_body_is_refused_while_it_grows(edge: Suite) -> None:
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    async with wire(edge.port) as client, asyncio.timeout(10):
        await client.send(CHUNKED + chunk * 66)  # And no end.
        status, headers, body = await client.answer()

    assert (status, body["error_code"]) == (413, "BODY_TOO_LARGE")
    assert headers["connection"] == "close"
    assert not edge.script.requests


async def test_a_body_known_to_be_too_large_is_refused_before_it_is_sent(edge: Suite) -> None:
    head = request("POST", "/v1/agent/invoke", b"", "Expect: 100-continue")
    async with wire(edge.port) as client, asyncio.timeout(5):
        await client.send(head.replace(b"Content-Length: 0", b"Content-Length: 10000000"))
        status, _, body = await client.answer()

    assert (status, body["error_code"]) == (413, "BODY_TOO_LARGE")


async def test_a_body_that_stops_half_way_reaches_no_service(edge: Suite) -> None:
    async with asyncio.timeout(5):
        async with wire(edge.port) as client:
            await client.send(request("POST", "/v1/agent/invoke", b'{"query": "x"}')[:-5])
            client.writer.write_eof()
            assert not await client.reader.read()

    assert not edge.script.requests


async def test_a_body_that_does_not_come_times_out() -> None:
    limits = {"body_timeout": timedelta(milliseconds=50)}
    async with suite(limits=limits) as edge, asyncio.timeout(5), wire(edge.port) as client:
        await client.send(request("POST", "/v1/agent/invoke", b'{"query": "x"}')[:-5])
        status, _, body = await client.answer()

    assert (status, body["error_code"]) == (408, "BODY_TIMEOUT")


async def test_a_head_that_does_not_end_is_hung_up_on() -> None:
    limits = {"head_timeout": timedelta(milliseconds=50)}
    async with suite(limits=limits) as edge, asyncio.timeout(5), wire(edge.port) as client:
        await client.send(b"GET /v1/models HTTP/1.1\r\nHost: ")

        assert not await client.reader.read()


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 20_000 + b"\r\n",
    ],
)
async def test_a_head_that_is_too_large_is_431(edge: Suite, head: bytes) -> None:
    async with wire(edge.port) as client, asyncio.timeout(5):
        await client.send(head)
        status, _, body = await client.answer()

    assert (status, body["error_code"]) == (431, "HEAD_TOO_LARGE")


@pytest.mark.parametrize(
    "said",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"HELLO\r\n\r\n",
        b"CONNECT edge:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /v1/agent/invoke HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_no_http_is_400_in_our_shape(edge: Suite, said: bytes) -> None:
    async with wire(edge.port) as client, asyncio.timeout(5):
        await client.send(said)
        status, headers, body = await client.answer()

    assert (status, body["error_code"]) == (400, "HTTP_INVALID")
    assert headers["x-request-id"] == body["request_id"]


async def test_requests_in_one_go_are_answered_in_order(edge: Suite) -> None:
    async with wire(edge.port) as client, asyncio.timeout(5):
        await client.send(b"".join(request("GET", f"/v1/tasks/t{n}") for n in range(5)))
        seen = [(await client.answer())[2]["task_id"] for _ in range(5)]

    assert seen == ["t0", "t1", "t2", "t3", "t4"]


async def test_a_connection_is_kept_after_an_error(edge: Suite) -> None:
    async with wire(edge.port) as client, asyncio.timeout(5):
        await client.send(request("POST", "/v1/agent/invoke", b"{"))
        first = await client.answer()
        await client.send(request("GET", "/v1/tasks/t"))
        second = await client.answer()

    assert (first[0], second[0]) == (400, 200)


async def test_a_wish_for_http_2_is_answered_as_http_1(edge: Suite) -> None:
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA")
    async with wire(edge.port) as client, asyncio.timeout(5):
        for _ in range(2):
            await client.send(request("POST", "/v1/agent/invoke", b'{"query": "x"}', *upgrade))
            status, _, body = await client.answer()

            assert (status, body["result"]) == (200, "x")


async def test_a_wish_for_a_websocket_is_answered_as_http(edge: Suite) -> None:
    upgrade = ("Connection: Upgrade", "Upgrade: websocket")
    async with wire(edge.port) as client, asyncio.timeout(5):
        await client.send(request("GET", "/healthz", b"", *upgrade))
        status, _, _ = await client.answer()

    assert status == 200
