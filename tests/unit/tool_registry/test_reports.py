"""What a running tool tells: merged, bounded, in order, and never waited for."""

import asyncio
import math
from contextlib import aclosing
from datetime import timedelta

import pytest

from services.chassis.errors import NotFound
from services.chassis.telling import LEVELS, Logged, Progress, Told, cut
from services.tool_registry.domain.call import Outcome
from services.tool_registry.domain.tool import ToolFailure
from services.tool_registry.ports import Invocation
from services.tool_registry.usecases.reports import MAX_LOG_BYTES, MAX_LOGS, Merged
from tests.conftest import FakeClock
from tests.unit.tool_registry.fakes import FAR, FakeTool, Stubborn, asked, calls_of


@pytest.fixture
def merged(clock: FakeClock) -> Merged:
    """What is merged by the fake clock."""
    return Merged(clock.monotonic)


def put(merged: Merged, *told: Told) -> None:
    for each in told:
        merged.put(each)


def test_the_first_progress_is_due_at_once_and_the_next_after_a_while(
    merged: Merged, clock: FakeClock
) -> None:
    put(merged, Progress(1))
    first = list(merged.due())
    put(merged, Progress(2), Progress(3, 10, "three"))
    early, wait = list(merged.due()), merged.wait()
    clock.advance(timedelta(milliseconds=101))

    assert (first, early) == ([Progress(1)], [])
    assert wait == pytest.approx(0.1)
    assert list(merged.due()) == [Progress(3, 10, "three")]
    assert merged.wait() is None


def test_a_reader_that_was_slow_does_not_get_them_closer(merged: Merged, clock: FakeClock) -> None:
    put(merged, Logged("info", "a"), Progress(1))
    reading = merged.due()
    next(reading)
    clock.advance(timedelta(seconds=9))
    next(reading)
    put(merged, Progress(2))

    assert list(merged.due()) == []


def test_logs_are_due_at_once_and_all_of_them(merged: Merged) -> None:
    logs = [Logged("info", str(number)) for number in range(5)]
    put(merged, *logs)

    assert merged.wait() == 0
    assert list(merged.due()) == logs
    assert list(merged.due()) == []


def test_the_last_progress_is_told_in_the_end_however_soon(merged: Merged) -> None:
    put(merged, Progress(1))
    list(merged.due())
    put(merged, Progress(2))

    assert list(merged.rest()) == [Progress(2)]


def test_logs_beyond_the_most_are_counted_and_not_kept(merged: Merged) -> None:
    put(merged, *[Logged("info", "x")] * 60)
    list(merged.due())
    put(merged, *[Logged("info", "x")] * 1000)

    *logs, last = merged.rest()
    assert len(logs) == MAX_LOGS - 60
    assert last == Logged("warning", "960 more messages of the tool were dropped")


@pytest.mark.parametrize(
    "told",
    [
        Progress(math.nan),
        Progress(math.inf),
        Progress("1"),  # type: ignore[arg-type]
        Progress(10**400),
        None,
        {"progress": 1},
    ],
)
def test_what_is_no_report_is_dropped(merged: Merged, told: Told) -> None:
    put(merged, told)

    assert list(merged.rest()) == []


def test_progress_that_does_not_grow_is_dropped(merged: Merged) -> None:
    put(merged, Progress(2), Progress(2, message="again"), Progress(1))

    assert list(merged.rest()) == [Progress(2)]


@pytest.mark.parametrize("total", [math.nan, -math.inf, "10", 10**400])
def test_a_total_that_is_no_number_is_not_told(merged: Merged, total: float) -> None:
    put(merged, Progress(1, total))

    assert list(merged.rest()) == [Progress(1)]


def test_long_messages_are_cut(merged: Merged) -> None:
    put(merged, Logged("info", "x" * 10**6), Progress(1, message="é" * 10**6))

    log, progress = merged.rest()
    assert [len(each.message.encode()) for each in (log, progress)] == [
        MAX_LOG_BYTES,
        MAX_LOG_BYTES - 1,
    ]
    assert log.message.endswith("x…")


@pytest.mark.parametrize("text", ["", "abc", "éé", "x" * MAX_LOG_BYTES])
def test_short_messages_are_not(text: str) -> None:
    assert cut(text, MAX_LOG_BYTES) == text


def test_half_a_character_becomes_a_question_mark() -> None:
    assert cut("a\ud800b", 100) == "a?b"


def test_a_level_that_is_none_becomes_info(merged: Merged) -> None:
    put(merged, *(Logged(level, "x") for level in (*LEVELS, "loud", "")))

    assert [each.level for each in merged.rest()] == [*LEVELS, "info", "info"]  # type: ignore[union-attr]


async def telling(invocation: Invocation) -> object:
    """Tells of itself."""
    invocation.report(Progress(1, 3))
    invocation.report(Logged("notice", "half way"))
    await asyncio.sleep(0)
    invocation.report(Progress(3, 3))
    return {"done": True}


async def test_a_stream_has_what_is_told_and_then_what_came_of_it() -> None:
    calls = calls_of(FakeTool(told=telling))

    async with asyncio.timeout(5):
        *told, outcome = [each async for each in calls.stream(asked())]

    assert told == [Logged("notice", "half way"), Progress(1, 3), Progress(3, 3)]
    assert isinstance(outcome, Outcome)
    assert outcome.result == {"done": True}


async def test_a_stream_fails_as_a_call_does() -> None:
    with pytest.raises(NotFound):
        [each async for each in calls_of(FakeTool()).stream(asked("other"))]


async def test_a_failure_of_the_tool_is_the_last_of_its_stream() -> None:
    async def failing(invocation: Invocation) -> object:
        invocation.report(Progress(1))
        raise ToolFailure("NO_WAY", "it cannot be")

    async with asyncio.timeout(5):
        told, outcome = [each async for each in calls_of(FakeTool(told=failing)).stream(asked())]

    assert told == Progress(1)
    assert isinstance(outcome, Outcome)
    assert outcome.failure is not None


async def test_a_reader_that_does_not_read_keeps_no_tool_waiting_and_little_is_kept() -> None:
    told, ended = 0, asyncio.Event()

    async def chatty(invocation: Invocation) -> object:
        nonlocal told
        for told in range(1, 50_001):
            invocation.report(Progress(told, message="x" * 5000))
            invocation.report(Logged("info", "x" * 5000))
            if told % 100 == 1:
                await asyncio.sleep(0)
        ended.set()
        return None

    async with asyncio.timeout(20), aclosing(calls_of(FakeTool(told=chatty)).stream(asked())) as it:
        await anext(it)
        await ended.wait()
        rest = [each async for each in it]

    assert told == 50_000
    assert len(rest) < 2 * MAX_LOGS
    assert isinstance(rest[-1], Outcome)
    assert rest[-2] == Logged("warning", "49900 more messages of the tool were dropped")


async def test_closing_a_stream_stops_the_tool() -> None:
    stopped = asyncio.Event()

    async def endless(invocation: Invocation) -> object:
        invocation.report(Progress(1))
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return None

    async with asyncio.timeout(5), aclosing(calls_of(FakeTool(told=endless)).stream(asked())) as it:
        await anext(it)
        await it.aclose()

    assert stopped.is_set()


async def test_closing_a_stream_does_not_wait_for_a_tool_that_does_not_stop() -> None:
    work, told = Stubborn(), []

    async def stubborn(invocation: Invocation) -> object:
        invocation.report(Progress(1))
        told.append(invocation)
        await work({})
        invocation.report(Progress(2))  # Nobody hears it any more.
        return None

    async with asyncio.timeout(5):
        async with aclosing(calls_of(FakeTool(told=stubborn, kept=FAR)).stream(asked())) as it:
            await anext(it)
        work.released.set()

    assert work.stopped.is_set()
