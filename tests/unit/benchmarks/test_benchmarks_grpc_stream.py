"""The load's own gRPC client, at grpc's own server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from benchmarks.load.grpc_stream import connect

LARGE = b"x" * 300_000


async def _said(request: bytes, context: Any) -> AsyncIterator[bytes]:
    for message in request.split(b","):
        if message == b"fail":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        yield LARGE if message == b"large" else message


@asynccontextmanager
async def serving() -> AsyncIterator[str]:
    server = grpc.aio.server()
    handlers = {"Say": grpc.unary_stream_rpc_method_handler(_said)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def test_calls_on_one_connection_each_have_their_own_last_message() -> None:
    async with serving() as address:
        connection = await connect(address)
        asked = (b"a,b", b"c", b"large,d", b"large")
        calls = [connection.begin("/t.T/Say", each) for each in asked]

        assert [await call.last() for call in calls] == [b"b", b"c", b"d", LARGE]
        assert all(call.first >= call.began for call in calls)
        connection.close()


async def test_a_call_that_failed_at_once_has_no_message() -> None:
    async with serving() as address:
        connection = await connect(address)
        with pytest.raises(EOFError):
            await connection.begin("/t.T/Say", b"fail").last()
        connection.close()


async def test_a_call_fails_when_the_server_is_gone() -> None:
    async with serving() as address:
        connection = await connect(address)
    with pytest.raises(ConnectionError):
        await connection.begin("/t.T/Say", b"a").last()
