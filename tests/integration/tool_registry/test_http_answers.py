"""What HTTP targets answer, those that behave and those that do not."""

import asyncio
import gzip
import tracemalloc
import zlib

import pytest

from services.chassis.errors import ResourceExhausted, ServiceError, Unavailable
from services.tool_registry.domain.targets import Http
from tests.integration.tool_registry.hosts import Handler, said
from tests.integration.tool_registry.http_targets import (
    JSON,
    LIMIT,
    Target,
    answered,
    failure,
    refusal,
    result,
)


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        (answered('{"a": [1, null]}', JSON), {"a": [1, None]}),
        (answered('"x"', "Content-Type: Application/JSON; charset=utf-8"), "x"),
        (answered("[]", "Content-Type: application/vnd.api+json"), []),
        (answered(b"\xef\xbb\xbf1", JSON), 1),
        (answered("null", JSON, status="201 Created"), None),
        (answered("", status="204 No Content"), None),
        (answered("", JSON), None),
        (answered("plain", "Content-Type: text/plain"), "plain"),
        (answered("<a/>", "Content-Type: application/xml"), "<a/>"),
        (answered("bare"), "bare"),
        (answered(b"Z\xfcrich", "Content-Type: text/plain; charset=ISO-8859-1"), "Zürich"),
        (answered(gzip.compress(b"[1]"), JSON, "Content-Encoding: gzip"), [1]),
        (answered(zlib.compress(b"[1]"), JSON, "Content-Encoding: deflate"), [1]),
        (b"HTTP/1.1 200 OK\r\n" + JSON.encode() + b"\r\n\r\n[1]", [1]),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
            + JSON.encode()
            + b"\r\n\r\n1\r\n[\r\n2\r\n1]\r\n0\r\n\r\n",
            [1],
        ),
        (
            b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answered("[1]", JSON),
            [1],
        ),
    ],
)
async def test_an_answer_is_a_value(answer: bytes, value: object) -> None:
    assert await result(Target(answer)) == value


async def test_the_result_may_be_within_the_answer() -> None:
    server = Target(answered('{"data": [{"a/b": {"x": 1}}]}', JSON))

    assert await result(server, Http("GET", "BASE/{city}", result="/data/0/a~1b")) == {"x": 1}


LIES = {
    "no JSON": (answered("<html>", JSON), "no JSON"),
    "half JSON": (answered('{"a": ', JSON), "no JSON"),
    "NaN": (answered("[NaN]", JSON), "no JSON"),
    "invalid UTF-8": (answered(b'"\xff"', JSON), "not UTF-8"),
    "levels": (answered("[" * 50_000, JSON), "no JSON"),
    "digits": (answered("1" * 10_000, JSON), "no JSON"),
    "an image": (answered(b"\x89PNG", "Content-Type: image/png"), "image/png"),
    "text that is none": (answered(b"\xff", "Content-Type: text/plain"), "text/plain"),
    "a codec": (answered("x", "Content-Type: text/plain; charset=unicode_escape"), "escape"),
    "no gzip": (answered("[1]", JSON, "Content-Encoding: gzip"), "encoding"),
    "brotli": (answered("[1]", JSON, "Content-Encoding: br"), "encoding"),
}


@pytest.mark.parametrize(("answer", "told"), LIES.values(), ids=LIES.keys())
async def test_an_answer_that_lies_about_itself_is_a_clear_failure(
    answer: bytes, told: str
) -> None:
    error = await failure(Target(answer))

    assert error.reason == "TOOL_OUTPUT_INVALID"
    assert told in error.message


async def test_text_is_no_result_where_the_schema_wants_an_object() -> None:
    server = Target(answered("sorry", "Content-Type: text/html"))

    error = await failure(server, output={"type": "object"})

    assert error.reason == "TOOL_OUTPUT_INVALID"
    assert "text/html" in error.message


@pytest.mark.parametrize("answer", [answered('{"data": []}', JSON), answered("x")])
async def test_a_result_that_is_not_where_it_should_be_is_a_failure(answer: bytes) -> None:
    error = await failure(Target(answer), Http("GET", "BASE/{city}", result="/data/0"))

    assert error.reason == "TOOL_OUTPUT_INVALID"


@pytest.mark.parametrize(
    ("status", "is_targets"),
    [
        ("300 Multiple Choices", False),
        ("304 Not Modified", False),
        ("400 Bad Request", False),
        ("401 Unauthorized", False),
        ("404 Not Found", False),
        ("418 I'm a teapot", False),
        ("500 Internal Server Error", True),
        ("502 Bad Gateway", True),
        ("599 Whatever", True),
    ],
)
async def test_a_status_that_is_no_success_is_a_failure(status: str, is_targets: bool) -> None:
    error = await failure(Target(answered('{"why": "no\\n such"}', JSON, status=status)))

    assert error.reason == "HTTP_STATUS"
    assert f"HTTP status {status[:3]}" in error.message
    assert error.is_targets is is_targets


async def test_a_failure_has_a_short_piece_of_what_the_target_said() -> None:
    body = "no such city\r\n\x00" + "x" * 10_000
    error = await failure(Target(answered(body, status="404 Not Found")))

    assert "no such city x" in error.message
    assert len(error.message) < 300


async def test_an_error_page_that_never_ends_is_not_waited_for() -> None:
    async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await said(reader)
        writer.write(b"HTTP/1.1 500 Oops\r\nContent-Type: text/plain\r\n\r\nbecause")
        await reader.read()

    assert "because" in (await failure(dripping)).message


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        ("503 Service Unavailable", Unavailable, "TOOL_UNAVAILABLE"),
        ("429 Too Many Requests", ResourceExhausted, "TOOL_RATE_LIMITED"),
    ],
)
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Retry-After: 7", 7),
        ("Retry-After: 0", 1),
        ("Retry-After: 999999999999999999999", 3600),
        ("Retry-After: Fri, 01 Jan 2100 00:00:00 GMT", 3600),
        ("Retry-After: Fri, 01 Jan 2021 00:00:00 GMT", 1),
        ("Retry-After: soon", 1),
        ("Retry-After: -3", 1),
        ("X-Other: 7", 1),
    ],
)
async def test_a_target_says_when_to_come_back(
    status: str, kind: type[ServiceError], reason: str, header: str, seconds: int
) -> None:
    error = await refusal(Target(answered("", header, status=status)))

    assert isinstance(error, kind)
    assert error.reason == reason
    assert error.retry_after is not None
    assert error.retry_after.total_seconds() == seconds


BROKEN = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[1",
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100\r\n[1",
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[1]\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12",
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"X-A: aaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 10_000,
    "one endless header": b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 300_000,
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
async def test_a_broken_answer_is_the_targets_fault(answer: bytes) -> None:
    error = await failure(Target(answer))

    assert error.reason == "TARGET_FAILED"
    assert error.is_targets


def _large(head: str, piece: bytes, count: int) -> Handler:
    async def sending(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await said(reader)
        writer.write(f"HTTP/1.1 200 OK\r\n{JSON}\r\n{head}\r\n\r\n".encode())
        for _ in range(count):
            writer.write(piece)
            await writer.drain()

    return sending


_BOMB = gzip.compress(b" " * 100_000_000)

_CHUNK = b"10000\r\n" + b" " * 0x10000 + b"\r\n"

LARGE = {
    "a length of 100 MB": _large("Content-Length: 100000000", b" " * 100_000, 1000),
    "100 MB without a length": _large("Connection: close", b" " * 100_000, 1000),
    "chunks for ever": _large("Transfer-Encoding: chunked", _CHUNK, 10**9),
    "a gzip bomb": _large(f"Content-Encoding: gzip\r\nContent-Length: {len(_BOMB)}", _BOMB, 1),
    "chunks of a byte": _large("Transfer-Encoding: chunked", b"1\r\n \r\n" * 1000, 10**9),
}


@pytest.mark.parametrize("handler", LARGE.values(), ids=LARGE.keys())
async def test_an_answer_that_is_too_large_is_not_read_on(handler: Handler) -> None:
    tracemalloc.start()
    try:
        error = await failure(handler)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert error.reason == "TOOL_RESULT_TOO_LARGE"
    assert peak < 6 * LIMIT


async def test_a_bomb_in_a_bomb_does_not_grow_either() -> None:
    packed = gzip.compress(_BOMB)
    head = f"Content-Encoding: gzip, gzip\r\nContent-Length: {len(packed)}"

    assert (await failure(_large(head, packed, 1))).reason == "TOOL_RESULT_TOO_LARGE"
