"""Tools at work: those that end, those that are stopped, and those that do not care."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import aclosing
from datetime import timedelta

import pytest

from services.chassis.errors import DeadlineExceeded
from services.tool_registry.domain.tool import ToolFailure
from services.tool_registry.ports import Invocation
from services.tool_registry.usecases import runs as module
from services.tool_registry.usecases.runs import Runs
from tests.unit.tool_registry.fakes import (
    FAR,
    FakeTool,
    Stubborn,
    Waiting,
    Work,
    asked,
    calls_of,
    raising,
    returning,
)

Kept = Mapping[str, object]
KINDS: list[Kept] = [FAR, {}]
"""Tools elsewhere, and built-in ones."""


class Place:
    """Knows whether it was given back."""

    def __init__(self) -> None:
        self.times = 0
        self.is_free = asyncio.Event()

    def __call__(self, _: object = None) -> None:
        self.times += 1
        self.is_free.set()


SHORT = Invocation({}, timeout=timedelta(milliseconds=5))
LONG = Invocation({}, timeout=timedelta(minutes=1))


async def ran(
    work: Work, place: Place, invocation: Invocation = SHORT, *, kept: Kept = FAR
) -> object:
    async with asyncio.timeout(5):
        return (await Runs().run(FakeTool(work, kept=kept), invocation, place)).value


@pytest.mark.parametrize("kept", KINDS)
async def test_a_tool_that_ends_gives_its_place_back_before_its_answer(kept: Kept) -> None:
    place = Place()

    assert await ran(returning(1), place, LONG, kept=kept) == 1
    assert place.times == 1


@pytest.mark.parametrize("kept", KINDS)
async def test_a_tool_that_is_late_is_stopped(kept: Kept) -> None:
    work, place = Waiting(), Place()

    with pytest.raises(DeadlineExceeded) as caught:
        await ran(work, place, kept=kept)

    assert caught.value.reason == "TOOL_TIMEOUT"
    assert work.stopped.is_set()
    assert place.times == 1


async def test_one_that_does_not_stop_holds_nobody_up_but_keeps_its_place() -> None:
    work, place = Stubborn(), Place()

    with pytest.raises(DeadlineExceeded):
        await ran(work, place)
    before = place.times
    work.released.set()
    async with asyncio.timeout(5):
        await place.is_free.wait()

    assert work.stopped.is_set()
    assert (before, place.times) == (0, 1)


async def test_a_caller_that_goes_away_is_not_held_up_either() -> None:
    work, place = Stubborn(), Place()
    call = asyncio.ensure_future(ran(work, place, LONG))

    async with asyncio.timeout(5):
        await work.started.wait()
        call.cancel()
        await asyncio.wait([call])
        work.released.set()
        await place.is_free.wait()

    assert call.cancelled()
    assert work.stopped.is_set()


async def test_one_that_does_not_stop_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.0)
    work, place = Stubborn(), Place()

    with pytest.raises(DeadlineExceeded):
        await ran(work, place)
    work.released.set()
    await place.is_free.wait()

    assert [each.message for each in caplog.records] == ["tool goes on after it was stopped"]


async def test_what_goes_on_is_stopped_with_the_service_which_does_not_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    work, place = Stubborn(), Place()

    async with asyncio.timeout(5), Runs() as runs:
        with pytest.raises(DeadlineExceeded):
            await runs.run(FakeTool(work, kept=FAR), SHORT, place)
        work.stopped.clear()
    work.released.set()
    await place.is_free.wait()

    assert work.stopped.is_set()


async def test_a_failure_after_the_end_is_not_lost(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    place, released = Place(), asyncio.Event()

    async def work(arguments: object) -> object:
        try:
            await released.wait()
        finally:
            raise RuntimeError("while stopping")

    with pytest.raises(DeadlineExceeded):
        await ran(work, place)

    assert caplog.records[-1].message == "tool failed after it was stopped"
    assert place.times == 1


@pytest.mark.parametrize("kept", KINDS)
@pytest.mark.parametrize("error", [RuntimeError("1234"), TimeoutError(), ConnectionResetError()])
async def test_what_a_tool_does_not_expect_is_a_failure_of_its_own(
    error: Exception, kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ToolFailure) as caught:
        await ran(raising(error), Place(), LONG, kept=kept)

    assert caught.value.reason == "TOOL_FAILED"
    assert "1234" not in caught.value.message
    assert [each.exc_info[1] for each in caplog.records if each.exc_info] == [error]


async def test_a_tool_that_cancels_itself_does_not_cancel_its_caller(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work(arguments: object) -> object:
        raise asyncio.CancelledError

    with pytest.raises(ToolFailure) as caught:
        await ran(work, Place())

    assert caught.value.reason == "TOOL_FAILED"
    assert [each.message for each in caplog.records] == ["tool failed"]


async def test_a_call_whose_caller_is_cancelled_twice_ends_with_the_service() -> None:
    work, place = Stubborn(), Place()

    async with asyncio.timeout(5), Runs() as runs:
        call = asyncio.ensure_future(runs.run(FakeTool(work, kept=FAR), LONG, place))
        await work.started.wait()
        for _ in range(2):  # Once for the tool to be stopped, and once more in the middle of that.
            call.cancel()
            await asyncio.sleep(0)
        is_gone = call.done()
        work.released.set()

    assert is_gone
    assert place.times == 1
    assert not running()


async def test_a_call_that_is_stopped_before_it_begins_waits_for_nothing() -> None:
    place = Place()

    async with asyncio.timeout(5):
        async with Runs() as runs:
            call = asyncio.ensure_future(runs.run(FakeTool(Waiting(), kept=FAR), LONG, place))
            await asyncio.sleep(0)
        await asyncio.wait((call,))

    assert place.times == 1
    assert not running()


async def test_a_stream_that_is_cancelled_twice_leaves_no_task_behind() -> None:
    work = Stubborn()
    runs = Runs()
    calls = calls_of(FakeTool(work, kept=FAR), runs=runs)

    async def read() -> None:
        async with aclosing(calls.stream(asked())) as events:
            await anext(events)

    async with asyncio.timeout(5), runs:
        reader = asyncio.ensure_future(read())
        await work.started.wait()
        for _ in range(2):
            reader.cancel()
            await asyncio.sleep(0)
        is_gone = reader.done()
        work.released.set()

    assert is_gone
    assert not running()


def running() -> set[asyncio.Task[object]]:
    """What goes on beside this test."""
    return asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]
