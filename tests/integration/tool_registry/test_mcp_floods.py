"""Servers that answer with more than anybody reads: others are served meanwhile."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from services.chassis.egress.secrets import NO_SECRETS
from services.tool_registry.adapters.mcp.outside import Turns
from services.tool_registry.adapters.mcp.stdio import program
from services.tool_registry.domain.server import State
from services.tool_registry.domain.tool import ToolFailure
from services.tool_registry.ports import Invocation
from tests.integration.tool_registry.liar import liar, result, text
from tests.integration.tool_registry.world import world


@asynccontextmanager
async def delays() -> AsyncIterator[list[float]]:
    """How long the loop computes before others get their turn, again and again. That the machine
    has others to run does not count."""
    seen: list[float] = [0.0]

    async def look() -> None:
        while True:
            began = time.thread_time()
            await asyncio.sleep(0.01)
            seen.append(time.thread_time() - began)

    looking = asyncio.create_task(look())
    try:
        yield seen
    finally:
        looking.cancel()


async def blip(writer: asyncio.StreamWriter, request: Any) -> None:
    """Bodies whose chunks have a byte each, without end."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
    writer.write(b"transfer-encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"1\r\n \r\n" * 10_000)
        await writer.drain()


async def blip_a_refusal(writer: asyncio.StreamWriter, request: Any) -> None:
    writer.write(b"HTTP/1.1 500 No\r\ncontent-type: application/json\r\n")
    writer.write(b"transfer-encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"1\r\n \r\n" * 10_000)
        await writer.drain()


async def an_event_without_end(writer: asyncio.StreamWriter, request: Any) -> None:
    text(writer, b"", kind="text/event-stream", length=1_000_000_000)
    while not writer.is_closing():
        writer.write(b"data:\n" * 10_000)
        await writer.drain()


def structured(value: str) -> Callable[..., Awaitable[None]]:
    async def write(writer: asyncio.StreamWriter, request: Any) -> None:
        answer = f'{{"resultType":"complete","content":[],"structuredContent":{{"a":[{value}]}}}}'
        text(writer, f'{{"jsonrpc":"2.0","id":{json.dumps(request)},"result":{answer}}}'.encode())

    return write


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (structured(",".join(["[]"] * 250_000)), "TOOL_RESULT_TOO_LARGE"),
        (structured(json.dumps("x" * 5_000_000)), "TOOL_RESULT_TOO_LARGE"),
        (blip, "TOOL_RESULT_TOO_LARGE"),
        (blip_a_refusal, "MCP_ERROR"),
        (an_event_without_end, "TOOL_RESULT_TOO_LARGE"),
    ],
)
async def test_an_answer_that_takes_too_much_keeps_nobody_waiting(answer: Any, reason: str) -> None:
    async with liar(tools__call=answer) as server, world() as here:
        await here.register("x", server.url)
        async with delays() as seen:
            called = here.tool("x__lie").call(Invocation({}, timeout=timedelta(seconds=20)))
            with pytest.raises(ToolFailure) as caught:
                await asyncio.wait_for(called, 25)

        assert caught.value.reason == reason
        assert max(seen) < 0.5


async def test_a_resource_of_many_values_in_a_list_keeps_nobody_waiting() -> None:
    notes = {"uri": "x://y", "name": "y", "_meta": {"a": [[]] * 45_000}}
    lists = result(resources=[notes, {"uri": "x://z", "name": "z"}])

    async with liar(resources__list=lists) as server, world() as here, delays() as seen:
        shown = await here.register("x", server.url)

        assert any("more than 16,384 bytes" in each for each in shown.seen.skipped)
        assert max(seen) < 0.5


async def test_large_messages_of_programs_wait_for_those_of_others_to_be_parsed() -> None:
    source = (
        "import json\n"
        "for size in (1, 100_000):\n"
        "    params = {'text': 'x' * size}\n"
        "    print(json.dumps({'jsonrpc': '2.0', 'method': 'notifications/x', 'params': params}))"
    )
    turns = Turns()
    pouring = program([sys.executable, "-uc", source], {}, NO_SECRETS, turns)

    async with asyncio.timeout(20), pouring as (_, (incoming, _)):
        async with turns.pause:
            await incoming.receive()
            large = asyncio.create_task(incoming.receive())
            await asyncio.wait([large], timeout=0.5)
            has_waited = not large.done()
        message = (await large).message

    assert has_waited
    assert len(message.params["text"]) == 100_000


async def test_a_text_with_many_commas_is_taken() -> None:
    commas = "," * 400_000

    async with liar(tools__call=structured(json.dumps(commas))) as server, world() as here:
        await here.register("x", server.url)
        answer = await here.call("x__lie")

        assert answer.value == {"a": [commas]}


async def test_a_page_of_nonsense_with_much_beside_it_keeps_nobody_waiting() -> None:
    beside = {f"k{number}": 1 for number in range(90_000)}
    lists = result(tools=[{"name": 5}] * 1000, _meta=beside)

    async with liar(tools__list=lists) as server, world() as here, delays() as seen:
        shown = await here.register("x", server.url)

        assert shown.seen.state is State.CONNECTED
        assert len(shown.seen.skipped) < 50
        assert max(seen) < 0.5


async def test_a_list_of_millions_is_not_read() -> None:
    lists = result(tools=[{}] * 500_000)

    async with liar(tools__list=lists) as server, world() as here:
        shown = await here.register("x", server.url)

        assert shown.seen.state is State.UNAVAILABLE
        assert "more than" in shown.seen.problem
