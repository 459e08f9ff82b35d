"""What a tool says while it runs, on its way into the log."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from services.chassis.errors import Unavailable
from services.chassis.telling import Logged, Progress
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.task import Call
from services.orchestrator.journal import Journal
from services.orchestrator.reports import APART_SECONDS, MOST_LOGS, Reports
from tests.unit.orchestrator.fakes import NOW, SPEC, SlowLog, pass_time


@dataclass
class Said:
    """A call under way."""

    reports: Reports
    log: SlowLog

    def steps(self) -> list[float]:
        """How far it was, as the log says."""
        return [each.progress for each in self.log.events if isinstance(each, ev.ToolProgressed)]

    def words(self) -> list[str]:
        """What it said, as the log says."""
        return [each.message for each in self.log.events if isinstance(each, ev.ToolLogged)]


@asynccontextmanager
async def calling() -> AsyncIterator[Said]:
    log = SlowLog()
    task, claim = await log.begin(ev.Started(NOW, SPEC), None)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        journal = Journal(log, group.create_task, task, claim)
        call = Call("call_1", "look", {})
        yield Said(Reports(journal, call, (1, 1), lambda: NOW, group.create_task), log)


async def test_how_far_it_is_is_written_now_and_then_and_the_newest_counts() -> None:
    async with calling() as it:
        for number in range(10):
            it.reports.hear(Progress(number))
            await pass_time(0.07)
        await pass_time(1)
        await it.reports.close()

    assert it.steps() == [0, 3, 7, 9]


async def test_what_is_said_comes_in_its_order() -> None:
    async with calling() as it:
        it.reports.hear(Logged("info", "one"))
        it.reports.hear(Progress(1))
        it.reports.hear(Logged("info", "two"))
        await pass_time(1)
        await it.reports.close()

    kinds = [type(each).__name__ for each in it.log.events[1:]]
    assert kinds == ["ToolLogged", "ToolProgressed", "ToolLogged"]
    assert it.words() == ["one", "two"]


async def test_what_was_not_written_is_handed_over_but_for_how_far_it_was() -> None:
    async with calling() as it:
        it.reports.hear(Progress(1))
        await pass_time(APART_SECONDS / 2)
        it.reports.hear(Logged("info", "nearly"))
        it.reports.hear(Progress(2))
        rest = await it.reports.close()

    assert it.steps() == [1]
    assert [getattr(each, "message", "") for each in rest] == ["nearly"]


async def test_what_is_on_its_way_gets_there() -> None:
    async with calling() as it:
        it.log.holds = ev.ToolLogged
        it.reports.hear(Logged("info", "one"))
        await it.log.holding.wait()
        closing = asyncio.ensure_future(it.reports.close())
        await pass_time(1)
        it.log.let_go.set()
        rest = await closing

    assert (it.words(), rest) == (["one"], [])


async def test_no_call_says_more_than_a_log_takes() -> None:
    async with calling() as it:
        for number in range(2 * MOST_LOGS):
            it.reports.hear(Logged("loud", str(number)))
        await pass_time(1)
        await it.reports.close()

    assert it.words() == [str(number) for number in range(MOST_LOGS)]
    logged = [each for each in it.log.events if isinstance(each, ev.ToolLogged)]
    assert {each.level for each in logged} == {"info"}


async def test_what_is_no_number_is_not_said() -> None:
    async with calling() as it:
        it.reports.hear(Progress(math.nan))
        it.reports.hear(Progress(1, math.inf))
        await pass_time(1)
        await it.reports.close()

    (said,) = [each for each in it.log.events if isinstance(each, ev.ToolProgressed)]
    assert (said.progress, said.total) == (1, None)


async def test_a_log_that_is_lost_ends_the_writing_and_not_the_call() -> None:
    async with calling() as it:
        it.log.refuses, it.log.refusal = ev.ToolLogged, Unavailable("GONE", "gone")
        it.reports.hear(Logged("info", "one"))
        await pass_time(1)
        it.reports.hear(Logged("info", "two"))
        rest = await it.reports.close()

    assert it.words() == []
    assert len(rest) == 1
