import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from benchmarks.load import closed, mcp, streams
from benchmarks.load.http import Answer, connect, request
from benchmarks.load.job import Job

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    b"12\r\nevent: task_start\n\r\n15\r\nevent: message_delta\n\r\n15\r\nevent: task_complete\n\r\n"
    b"0\r\n\r\n"
)


@asynccontextmanager
async def saying(*answers: bytes) -> AsyncIterator[str]:
    """A server that gives these answers in turn, then hangs up."""
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while left:
            if not await reader.readuntil(b"\r\n\r\n"):
                break
            writer.write(left.pop(0))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


def test_a_request_with_a_body_says_how_long_it_is() -> None:
    raw = request("127.0.0.1:1", "/v1/agent/invoke", {"query": "Hello"})
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/agent/invoke HTTP/1.1\r\n")
    assert b"content-length: %d" % len(body) in head


@pytest.mark.parametrize("whole", [PLAIN, CHUNKED])
@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_an_answer_ends_where_it_says_however_it_is_cut(whole: bytes, size: int) -> None:
    answer = Answer([])
    pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
    ends = [answer.feed(piece) for piece in pieces]
    assert ends == [False] * (len(pieces) - 1) + [True]
    assert answer.status == 200


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_marks_are_found_in_their_order_across_pieces(size: int) -> None:
    answer = Answer([streams.START, streams.DELTA, streams.COMPLETE])
    for start in range(0, len(CHUNKED), size):
        answer.feed(CHUNKED[start : start + size])
    assert len(answer.at) == 3
    assert answer.at == sorted(answer.at)


async def test_waiting_for_a_mark_that_never_comes_ends_with_the_answer() -> None:
    answer = Answer([b"absent"])
    waiting = asyncio.create_task(answer.seen(1))
    await asyncio.sleep(0)
    answer.feed(PLAIN)
    async with asyncio.timeout(5):
        with pytest.raises(EOFError):
            await waiting


async def test_a_connection_that_is_lost_fails_its_answer() -> None:
    async with asyncio.timeout(5), saying(PLAIN[:-1]) as address:
        connection = await connect(address)
        with pytest.raises(ConnectionError):
            await connection.ask(request(address, "/", None))


async def test_good_and_bad_answers_are_counted_apart() -> None:
    busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\ncontent-length: 0\r\n\r\n"
    silent = b"HTTP/1.1 429 Busy\r\ncontent-length: 0\r\n\r\n"
    other = PLAIN.replace(b"hello", b"adieu")
    async with asyncio.timeout(5), saying(PLAIN, busy, silent, other, PLAIN) as address:
        report = await closed.run(Job("closed", address, "/", expect="hello", count=5))
    assert report["count"] == 2
    assert report["errors"] == {
        "503 with Retry-After": 1,
        "429": 1,
        "200 without what was expected": 1,
    }


async def test_a_stream_counts_only_when_it_is_whole() -> None:
    cut = CHUNKED.replace(b"task_complete", b"task_vanished")
    async with asyncio.timeout(5), saying(CHUNKED, cut) as address:
        report = await streams.run(Job("streams", address, "/", count=2))
    assert report["count"] == 1
    assert report["events"] == 3
    assert report["errors"] == {"stream without what was expected": 1}


def test_a_call_over_mcp_has_the_headers_that_repeat_its_body() -> None:
    asked = mcp.body("tools/call", name="add", arguments={"a": 1})
    raw = request("127.0.0.1:1", mcp.PATH, asked, mcp.headers("tools/call", "add"))
    head, _, body = raw.partition(b"\r\n\r\n")

    assert b"\r\nmcp-method: tools/call\r\n" in head
    assert b"\r\nmcp-name: add\r\n" in head
    assert f"\r\nmcp-protocol-version: {mcp.VERSION}\r\n".encode() in head
    assert head.endswith(b"content-length: %d" % len(body))
    assert json.loads(body)["params"]["arguments"] == {"a": 1}
