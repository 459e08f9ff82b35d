"""Text is merged on its way from the producing thread to the loop."""

import asyncio
import threading
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta

import pytest

from services.chassis.errors import Unavailable
from services.inference.domain.generation import Finished, Usage
from services.inference.engines.outbox import Outbox

END = Finished("stop", Usage(1, 1))
NEVER = timedelta(hours=1)
AT_ONCE = timedelta(0)


async def test_what_gathered_before_it_is_taken_comes_as_one_piece() -> None:
    outbox = Outbox()
    for text in "abc":
        outbox.put(text)
    outbox.end(END)

    assert [piece async for piece in outbox.pieces(AT_ONCE)] == [replace(END, text="abc")]


async def test_after_the_first_piece_all_waits_for_the_pace_but_the_end_does_not() -> None:
    outbox = Outbox()
    async with asyncio.timeout(5), aclosing(outbox.pieces(NEVER)) as pieces:
        outbox.put("a")
        first = await anext(pieces)
        for text in "bcd":
            outbox.put(text)
        asyncio.get_running_loop().call_soon(outbox.end, END)
        rest = [piece async for piece in pieces]

    assert (first, rest) == ("a", [replace(END, text="bcd")])


async def test_the_more_streams_there_are_the_more_a_piece_holds() -> None:
    outbox, loop = Outbox(lambda: 1_000), asyncio.get_running_loop()
    async with asyncio.timeout(5), aclosing(outbox.pieces(timedelta(milliseconds=1))) as pieces:
        outbox.put("a")
        await anext(pieces)
        outbox.put("b")
        loop.call_later(0.02, outbox.put, "c")

        assert await anext(pieces) == "bc"


async def test_text_alone_ends_a_pause_when_the_pace_has_passed() -> None:
    outbox = Outbox()
    async with asyncio.timeout(5), aclosing(outbox.pieces(timedelta(milliseconds=1))) as pieces:
        outbox.put("a")
        await anext(pieces)
        outbox.put("b")

        assert await anext(pieces) == "b"


async def test_nothing_is_lost_between_a_thread_and_the_loop() -> None:
    outbox = Outbox()
    texts = [f"{number} " for number in range(20_000)]

    def produce() -> None:
        for text in texts:
            outbox.put(text)
        outbox.end(END)

    thread = threading.Thread(target=produce)
    async with asyncio.timeout(5):
        thread.start()
        pieces = [piece async for piece in outbox.pieces(AT_ONCE)]
    thread.join()

    said = [piece.text if isinstance(piece, Finished) else piece for piece in pieces]
    assert "".join(said) == "".join(texts)


async def test_a_failure_comes_after_the_text_before_it() -> None:
    outbox = Outbox()
    outbox.put("a")
    outbox.end(Unavailable("ENGINE_FAILED", "x"))
    async with aclosing(outbox.pieces(AT_ONCE)) as pieces:
        first = await anext(pieces)
        with pytest.raises(Unavailable):
            await anext(pieces)

    assert first == "a"


async def test_a_consumer_that_leaves_tells_the_thread_to_stop() -> None:
    outbox = Outbox()
    outbox.put("a")
    async with aclosing(outbox.pieces(NEVER)) as pieces:
        await anext(pieces)

    assert outbox.is_closed
