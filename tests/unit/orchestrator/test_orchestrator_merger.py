import asyncio
from dataclasses import dataclass, field

import pytest

from services.chassis.errors import Unavailable
from services.orchestrator.ports import LogLost
from services.orchestrator.turn import MERGE_SECONDS, Merger
from tests.unit.orchestrator.fakes import pass_time


@dataclass
class Heard:
    """What was passed on, and when in the loop's time."""

    texts: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    until: int = 2
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    goes_on: asyncio.Event | None = None
    """What each delivery waits for."""
    error: Unavailable | None = None
    """What each delivery after the first fails with."""

    async def __call__(self, text: str) -> None:
        self.texts.append(text)
        self.times.append(asyncio.get_running_loop().time())
        if len(self.texts) >= self.until:
            self.enough.set()
        if self.error is not None and len(self.texts) > 1:
            raise self.error
        if self.goes_on is not None:
            await self.goes_on.wait()


async def test_the_first_piece_goes_at_once_and_the_next_ones_together() -> None:
    heard = Heard()
    merger = Merger(asyncio.create_task, heard)

    for piece in ("a", "b", "c"):
        await merger.add(piece)
    at_once = list(heard.texts)
    async with asyncio.timeout(5):
        await heard.enough.wait()

    assert at_once == ["a"]
    assert heard.texts == ["a", "bc"]


async def test_text_that_waits_is_passed_on_without_a_next_piece() -> None:
    heard = Heard()
    merger = Merger(asyncio.create_task, heard)

    await merger.add("a")
    await merger.add("b")
    async with asyncio.timeout(5):
        await heard.enough.wait()

    assert heard.times[1] - heard.times[0] == pytest.approx(MERGE_SECONDS)
    assert MERGE_SECONDS == 0.02


async def test_a_piece_after_a_pause_goes_at_once() -> None:
    heard = Heard()
    merger = Merger(asyncio.create_task, heard)

    await merger.add("a")
    await pass_time(1)
    await merger.add("b")

    assert heard.texts == ["a", "b"]


async def test_a_closed_merger_passes_nothing_on_any_more() -> None:
    heard = Heard()
    merger = Merger(asyncio.create_task, heard)
    await merger.add("a")
    await merger.add("b")

    merger.close()
    await pass_time(1)

    assert heard.texts == ["a"]


async def test_text_that_was_taken_is_not_passed_on_again() -> None:
    heard = Heard()
    merger = Merger(asyncio.create_task, heard)
    await merger.add("a")
    await merger.add("b")

    taken = await merger.take()
    await pass_time(1)

    assert (taken, heard.texts) == ("b", ["a"])


async def test_text_waits_for_the_delivery_before_it() -> None:
    heard = Heard(until=3)
    merger = Merger(asyncio.create_task, heard)
    await merger.add("a")
    heard.goes_on = asyncio.Event()
    await merger.add("b")
    await pass_time(MERGE_SECONDS * 1.5)
    await merger.add("c")
    await pass_time(1)
    before = list(heard.texts)

    heard.goes_on.set()
    async with asyncio.timeout(5):
        await heard.enough.wait()

    assert before == ["a", "b"]
    assert heard.texts == ["a", "b", "c"]


async def test_a_piece_after_a_pause_waits_for_the_delivery_before_it() -> None:
    heard = Heard(until=3)
    merger = Merger(asyncio.create_task, heard)
    await merger.add("a")
    heard.goes_on = asyncio.Event()
    await merger.add("b")
    await pass_time(1)
    adding = asyncio.create_task(merger.add("c"))
    await pass_time(1)
    before = list(heard.texts)

    heard.goes_on.set()
    async with asyncio.timeout(5):
        await adding

    assert before == ["a", "b"]
    assert heard.texts == ["a", "b", "c"]


async def test_a_delivery_that_failed_later_is_told_with_the_next_piece() -> None:
    heard = Heard(error=LogLost("EVENT_STORE_UNAVAILABLE"))
    merger = Merger(asyncio.create_task, heard)
    await merger.add("a")
    await merger.add("b")
    await pass_time(0.021)
    heard.error = None
    await pass_time(1)

    with pytest.raises(LogLost):
        await merger.add("c")
