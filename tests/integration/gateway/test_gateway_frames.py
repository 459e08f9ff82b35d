"""WebSockets by hand: what well-behaved clients do not send."""

import asyncio
import base64
import json
import os
from datetime import timedelta

import pytest

from tests.integration.gateway.fakes import Script, Suite, suite
from tests.integration.gateway.wire import Wire, request, wire

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/v1/agent/converse"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
START = b'{"start": {"query": "x"}}'


def handshake(*headers: str, version: int = 13) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {PATH} HTTP/1.1",
        "Host: localhost",
        "Connection: keep-alive, Upgrade",
        "Upgrade: WebSocket",
        f"Sec-WebSocket-Key: {key}",
        f"Sec-WebSocket-Version: {version}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def frame(opcode: int, data: bytes, *, first: int = 0x80, mask: int = 0x80) -> bytes:
    size = len(data)
    length = bytes([mask | size]) if size < 126 else bytes([mask | 126]) + size.to_bytes(2, "big")
    return bytes([first | opcode]) + length + (bytes(4) if mask else b"") + data


async def received(client: Wire) -> tuple[int, bytes]:
    """The next frame: its kind and what is in it."""
    first, size = await client.reader.readexactly(2)
    if size == 126:
        size = int.from_bytes(await client.reader.readexactly(2), "big")
    return first & 0x0F, await client.reader.readexactly(size)


async def opened(client: Wire, *headers: str) -> None:
    await client.send(handshake(*headers))
    status, _ = await client.head()
    assert status == 101


async def test_compression_is_not_agreed_to(edge: Suite) -> None:
    async with wire(edge.port) as client, asyncio.timeout(5):
        await client.send(handshake("Sec-WebSocket-Extensions: permessage-deflate"))
        status, headers = await client.head()

    assert status == 101
    assert "sec-websocket-extensions" not in headers


async def test_a_handshake_may_come_in_pieces_and_after_a_request(edge: Suite) -> None:
    said = handshake("Cookie: " + "x" * 2000)
    async with wire(edge.port) as client, asyncio.timeout(5):
        await client.send(request("GET", "/v1/tasks/t"))
        first, _, _ = await client.answer()
        for start in range(0, len(said), 61):
            await client.send(said[start : start + 61])
            await asyncio.sleep(0)
        status, _ = await client.head()
        await client.send(frame(TEXT, START))
        kind, data = await received(client)

    assert (first, status, kind) == (200, 101, TEXT)
    assert json.loads(data)["sequence"] == 1


async def test_a_handshake_of_another_version_is_told_the_right_one(edge: Suite) -> None:
    async with wire(edge.port) as client, asyncio.timeout(5):
        await client.send(handshake(version=8))
        status, headers, body = await client.answer()

    assert (status, body["error_code"]) == (426, "UPGRADE_REQUIRED")
    assert headers["sec-websocket-version"] == "13"


async def test_a_handshake_behind_an_open_request_is_no_handshake(edge: Suite) -> None:
    async with wire(edge.port) as client, asyncio.timeout(5):
        await client.send(request("GET", "/v1/tasks/t") + handshake())
        first, _, _ = await client.answer()
        second, _, body = await client.answer()

    assert (first, second, body["error_code"]) == (200, 426, "UPGRADE_REQUIRED")


@pytest.mark.parametrize("headers", [["Cookie: " + "x" * 9000], ["X-A: b"] * 200])
async def test_a_head_that_the_frames_parser_would_not_take_is_431(
    edge: Suite, headers: list[str]
) -> None:
    async with wire(edge.port) as client, asyncio.timeout(5):
        await client.send(handshake(*headers))
        status, _, body = await client.answer()

    assert (status, body["error_code"]) == (431, "HEAD_TOO_LARGE")


async def test_a_post_that_wishes_for_a_socket_is_answered_as_http(edge: Suite) -> None:
    wish = ("Connection: Upgrade", "Upgrade: websocket")
    async with wire(edge.port) as client, asyncio.timeout(5):
        await client.send(request("GET", "/v1/tasks/t"))
        await client.answer()
        await client.send(request("POST", "/v1/agent/invoke", b'{"query": "x"}', *wish))
        status, _, body = await client.answer()

    assert (status, body["result"]) == (200, "x")


async def test_text_that_is_not_utf_8_is_refused(edge: Suite) -> None:
    async with wire(edge.port) as client, asyncio.timeout(5):
        await opened(client)
        await client.send(frame(TEXT, b'{"user_message": {"text": "\xff"}}'))
        kind, data = await received(client)
        closing, code = await received(client)

    assert (kind, json.loads(data)["error_code"]) == (TEXT, "JSON_INVALID")
    assert (closing, int.from_bytes(code[:2], "big")) == (CLOSE, 1008)


@pytest.mark.parametrize(
    "said",
    [
        frame(TEXT, START, mask=0),
        frame(TEXT, START, first=0xC0),  # A bit of an extension that was not agreed to.
        frame(3, b""),
        frame(0, START),  # Goes on with nothing.
        frame(PING, b"", first=0),
    ],
)
async def test_what_is_no_frame_ends_the_call(edge: Suite, said: bytes) -> None:
    edge.script.messages, edge.script.hangs = 1, True
    async with wire(edge.port) as client, asyncio.timeout(5):
        await opened(client)
        await client.send(frame(TEXT, START))
        await received(client)
        await client.send(said)
        kind, code = await received(client)
        await edge.script.cancelled.wait()

    assert (kind, int.from_bytes(code[:2], "big")) == (CLOSE, 1002)


async def test_a_client_that_breaks_the_rules_of_a_stream_is_no_bug_of_ours(
    edge: Suite, caplog: pytest.LogCaptureFixture
) -> None:
    edge.script.messages, edge.script.text = 3000, "x" * 10_000
    async with wire(edge.port) as client, wire(edge.port) as other, asyncio.timeout(10):
        await opened(client)
        await client.send(frame(TEXT, START))
        for _ in range(30):  # Meanwhile events fill all buffers: the next one waits.
            await other.send(request("GET", "/healthz"))
            await other.answer()
        await client.send(frame(3, b""))
        while await client.reader.read(1 << 20):
            pass

    ours = [record for record in caplog.records if record.name.startswith(("gateway", "uvicorn"))]
    assert not [record for record in ours if record.levelname == "ERROR"]


async def test_a_ping_is_answered_while_the_service_is_busy(edge: Suite) -> None:
    edge.script.messages, edge.script.hangs = 1, True
    async with wire(edge.port) as client, asyncio.timeout(5):
        await opened(client)
        await client.send(frame(TEXT, START))
        await received(client)
        await client.send(frame(PING, b"are you there"))
        pong = await received(client)

    assert pong == (PONG, b"are you there")


async def test_a_flood_of_pings_from_a_client_that_does_not_read_passes(edge: Suite) -> None:
    pings = frame(PING, b"x" * 125) * 1000
    async with wire(edge.port) as client, asyncio.timeout(20):
        await opened(client)
        for _ in range(200):  # 26 MB: more than all buffers on the way back hold.
            await client.send(pings)
        await client.send(frame(TEXT, START))
        kind, count = PONG, 0
        while kind == PONG:
            kind, _ = await received(client)
            count += 1

    assert kind == TEXT
    assert count < 200_000


async def test_a_client_that_answers_no_ping_is_gone() -> None:
    script = Script(messages=1, hangs=True)
    beat = timedelta(milliseconds=20)
    limits = {"pong_timeout": timedelta(milliseconds=50)}
    async with (
        suite(script, heartbeat=beat, limits=limits) as edge,
        asyncio.timeout(5),
        wire(edge.port) as client,
    ):
        await opened(client)
        await client.send(frame(TEXT, START))
        kinds = [(await received(client))[0]]
        while kinds[-1] != CLOSE:
            kinds.append((await received(client))[0])
        await script.cancelled.wait()

    assert PING in kinds


async def test_a_client_that_neither_reads_nor_answers_is_cut_off() -> None:
    script = Script(messages=10_000, text="x" * 10_000)
    beat = timedelta(milliseconds=50)
    limits = {"pong_timeout": timedelta(milliseconds=100)}
    async with (
        suite(script, heartbeat=beat, limits=limits) as edge,
        asyncio.timeout(15),
        wire(edge.port) as client,
        wire(edge.port) as other,
    ):
        await opened(client)
        await client.send(frame(TEXT, START))
        await script.arrived.wait()
        while not client.writer.is_closing():
            client.writer.write(frame(PONG, b""))  # Until that meets with a connection reset.
            await other.send(request("GET", "/healthz"))
            await other.answer()
