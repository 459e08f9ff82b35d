"""Turns that are shown what was said before them, as far as it fits."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from services.chassis.errors import Unavailable
from services.orchestrator.domain import events as ev
from services.orchestrator.domain import history as hs
from services.orchestrator.domain import session as ss
from services.orchestrator.domain.task import State, Task
from services.orchestrator.equipment import Equipment
from services.orchestrator.memory import LEAST_OUTPUT_TOKENS, MAX_BYTES, Memory
from services.orchestrator.ports import Generation, Piece
from tests.unit.orchestrator.fakes import (
    MODEL,
    REQUEST,
    Bench,
    FakeModels,
    Line,
    bench,
    caller,
    pass_time,
)

LONG = "x" * 900
ROOM = (MODEL.context_tokens - LEAST_OUTPUT_TOKENS) / 2


@dataclass
class CountingModels(FakeModels):
    """Counts a token for four characters, as far as it can count."""

    can_count: bool = True
    notes: Line = "We talked about x."
    """What it writes as a summary."""

    def generate(self, generation: Generation, *, timeout: float) -> AsyncGenerator[Piece, None]:
        """See `Models`."""
        if is_clerk(generation.messages):
            clerk = FakeModels(((self.notes,),), asked=self.asked, said=self.said)
            return clerk.generate(generation, timeout=timeout)
        return super().generate(generation, timeout=timeout)

    async def count_tokens(self, model: str, messages: Sequence[ev.Message]) -> int:
        """See `Models`."""
        if not self.can_count:
            raise Unavailable("ENGINE_FAILED", "gone")
        return sum(len(each.content) // 4 + 4 for each in messages)


async def turn(it: Bench, query: str = LONG, session_id: str = "", **changes: Any) -> Task:
    """A turn, once it has ended, and a summary of the ones before it is there."""
    request = replace(REQUEST, query=query, session_id=session_id, **changes)
    answer = await it.tasks.invoke(request, caller(), default_timeout=timedelta(seconds=9))
    await pass_time(1)
    return answer.task


def asked(it: Bench) -> list[Sequence[ev.Message]]:
    """What the model was shown in each turn."""
    return [each.messages for each in it.models.asked if not is_clerk(each.messages)]


def shown(it: Bench) -> list[tuple[str, str]]:
    """What it was shown last, without its instructions."""
    return [(each.role, each.content) for each in asked(it)[-1][1:]]


def is_clerk(messages: Sequence[ev.Message]) -> bool:
    return messages[-1].content.endswith("Write the notes.")


async def session_of(it: Bench, task: Task) -> ss.Session:
    found = await it.sessions.find("default", task.spec.session_id)
    assert found is not None
    return found


async def long_session(it: Bench, turns: int) -> list[Task]:
    """Turns of 900 characters each way, one after the other."""
    tasks: list[Task] = []
    for _ in range(turns):
        tasks.append(await turn(it, session_id=tasks[0].spec.session_id if tasks else ""))
    return tasks


async def test_a_turn_is_shown_the_turns_before_it() -> None:
    async with bench(("One",), ("Two",), ("Three",)) as it:
        first = await turn(it, "1?")
        second = await turn(it, "2?", first.spec.session_id)
        await turn(it, "3?", first.spec.session_id)

    assert first.window is None
    assert second.window is not None
    assert not second.window.is_cut
    assert shown(it) == [
        ("user", "1?"),
        ("assistant", "One"),
        ("user", "2?"),
        ("assistant", "Two"),
        ("user", "3?"),
    ]


async def test_what_the_caller_brings_comes_after_what_the_session_remembers() -> None:
    async with bench(("One",)) as it:
        first = await turn(it, "1?")
        brought = (ev.Message("system", "Be brief."),)
        await turn(it, "2?", first.spec.session_id, messages=brought)

    assert [content for _, content in shown(it)] == ["1?", "One", "Be brief.", "2?"]


async def test_what_a_task_had_said_when_it_was_canceled_is_remembered() -> None:
    async with bench(("One, ", "two", asyncio.Event()), ("Three",)) as it:
        run = await it.submit()
        await it.models.said.wait()
        await it.tasks.cancel(caller(), run.spec.task_id, reason="enough")
        await turn(it, "2?", run.spec.session_id)

    assert shown(it) == [("user", "Hello"), ("assistant", "One, two"), ("user", "2?")]


async def test_a_task_that_is_taken_over_is_shown_the_very_same() -> None:
    async with bench((LONG,)) as it:
        it.models = CountingModels(((LONG,),))
        tasks = await long_session(it, 8)
        memory = it.world.memory

        for task, messages in zip(tasks[1:], asked(it)[1:], strict=True):
            loaded = await it.world.log.load("default", task.spec.task_id)
            assert loaded.window == task.window
            assert loaded.window is not None
            recalled = await memory.recall(loaded.spec, loaded.window)
            assert [*recalled, ev.Message("user", LONG)] == list(messages[1:])


async def test_a_long_session_fits_and_is_summarized_before_turns_are_left_out() -> None:
    async with bench() as it:
        it.models = models = CountingModels(((LONG,),))
        tasks = await long_session(it, 9)
        session = await session_of(it, tasks[0])
        lengths = [await models.count_tokens("", each) for each in asked(it)]

    assert [task.state for task in tasks] == [State.COMPLETED] * 9
    assert [task.warnings for task in tasks] == [()] * 9
    assert session.summary is not None
    assert session.summary.text == models.notes
    assert shown(it)[0] == ("user", f"{hs.NOTES}{models.notes}")
    assert max(lengths) <= ROOM + 300
    assert len(models.asked) - len(asked(it)) >= 2


async def test_turns_that_nobody_summarized_are_left_out_with_a_warning() -> None:
    async with bench() as it:
        it.models = CountingModels(((LONG,),), notes=Unavailable("ENGINE_FAILED", "gone"))
        tasks = await long_session(it, 8)
        session = await session_of(it, tasks[0])

    assert [task.state for task in tasks] == [State.COMPLETED] * 8
    assert session.summary is None
    warned = [[each.code for each in task.warnings] for task in tasks]
    assert warned[0] == []
    assert warned[-1] == ["HISTORY_CUT"]
    assert shown(it)[0] == ("user", LONG)
    assert len(shown(it)) == 9  # Four turns of two messages, and the query.


async def test_where_nobody_counts_only_what_surely_fits_is_shown() -> None:
    async with bench() as it:
        it.models = CountingModels(((LONG,),))
        tasks = await long_session(it, 3)
        it.models.can_count = False
        last = await turn(it, "?", tasks[0].spec.session_id)

    assert last.state is State.COMPLETED
    assert [each.code for each in last.warnings] == ["HISTORY_CUT"]
    assert len(shown(it)) == 3  # One turn of two messages, and the query.


async def test_short_turns_are_not_counted() -> None:
    async with bench(("One",)) as it:
        it.models = CountingModels((("One",),), can_count=False)
        first = await turn(it, "1?")
        second = await turn(it, "2?", first.spec.session_id)

    assert (second.state, second.warnings) == (State.COMPLETED, ())


async def test_a_huge_answer_is_shown_in_part() -> None:
    async with bench() as it:
        it.models = CountingModels((("y" * 100_000,), ("ok",)))
        first = await turn(it, "1?")
        second = await turn(it, "2?", first.spec.session_id)

    assert second.state is State.COMPLETED
    assert [content[:4] for _, content in shown(it)] == ["1?", "yyyy", "2?"]
    assert shown(it)[1][1].endswith("characters left out)")


@pytest.mark.parametrize(("prompt_tokens", "times"), [(10, 1), (9_999, 3)])
async def test_a_session_is_summarized_once_at_a_time(prompt_tokens: int, times: int) -> None:
    go = asyncio.Event()
    async with bench() as it:
        it.models = CountingModels(((LONG,),))
        tasks = await long_session(it, 3)
        spec, models = tasks[0].spec, FakeModels(((go, "Notes"),), prompt_tokens)
        memory = Memory(it.sessions, models, it.clock)
        session = await session_of(it, tasks[0])
        writing = [
            asyncio.create_task(memory.summarize(spec, MODEL, session.sequence)) for _ in range(3)
        ]
        await models.said.wait()
        await turn_added(it, session)
        go.set()
        await asyncio.gather(*writing)
        found = await session_of(it, tasks[0])

    assert len(models.asked) == times  # Once, or for each turn where two do not fit together.
    assert found.summary is not None
    assert (found.summary.text, found.turns) == ("Notes", 4)


async def turn_added(it: Bench, session: ss.Session, task_id: str = "task_9") -> ss.Session:
    """Somebody adds a turn meanwhile."""
    added = ss.TurnAdded(it.clock(), session.turns + 1, task_id)
    return await it.sessions.append(session, [added])


async def test_a_summary_of_a_session_that_is_deleted_meanwhile_is_dropped() -> None:
    go = asyncio.Event()
    async with bench() as it:
        first = await turn(it, "1?")
        second = await turn(it, "2?", first.spec.session_id)
        models = FakeModels(((go, "Notes"),))
        memory = Memory(it.sessions, models, it.clock)
        session = await session_of(it, second)
        writing = asyncio.create_task(memory.summarize(first.spec, MODEL, 2))
        await models.said.wait()
        await it.sessions.append(session, [ss.Deleted(it.clock())])
        go.set()
        await writing
        found = await session_of(it, second)

    assert found.is_deleted
    assert found.summary is None


@pytest.mark.parametrize("line", [Unavailable("ENGINE_FAILED", "gone"), asyncio.Event(), " "])
async def test_a_summary_that_fails_does_no_harm(line: Line) -> None:
    async with bench() as it:
        first = await turn(it, "1?")
        second = await turn(it, "2?", first.spec.session_id)
        memory = Memory(it.sessions, FakeModels(((line,),)), it.clock)

        await memory.summarize(first.spec, MODEL, 2)

        assert (await session_of(it, second)).summary is None


async def test_turns_that_came_to_nothing_keep_no_session_from_being_summarized() -> None:
    async with bench(("One",)) as it:
        task = await turn(it, "1?")
        session, memory = await session_of(it, task), it.world.memory
        await memory.summarize(task.spec, MODEL, 2)
        session = await session_of(it, task)
        for number in range(20):
            voided = ss.TurnVoided(it.clock(), f"task_{number}")
            session = await turn_added(it, session, f"task_{number}")
            session = await it.sessions.append(session, [voided])
        last = await turn(it, "2?", task.spec.session_id)
        await memory.summarize(task.spec, MODEL, last.spec.place.sequence)
        found = await session_of(it, task)

    assert found.summary is not None
    assert found.summary.through == last.spec.place.sequence


async def test_a_request_that_fits_alone_fits_with_any_history() -> None:
    async with bench() as it:
        it.models = CountingModels(((LONG,),))
        tasks = await long_session(it, 6)
        spec = replace(tasks[-1].spec, query="y" * 4 * (MODEL.context_tokens - 60))
        memory = Memory(it.sessions, it.models, it.clock)

        chosen = await memory.choose(spec, Equipment(MODEL, {}))

    assert chosen is not None
    assert chosen.messages == []
    assert chosen.window.is_cut


async def test_a_large_window_is_not_filled_beyond_what_inference_takes() -> None:
    async with bench() as it:
        gone = Unavailable("ENGINE_FAILED", "gone")
        it.models = CountingModels((("y" * 60_000,),), notes=gone)
        tasks = await long_session(it, 6)
        large = replace(MODEL, context_tokens=1_000_000)
        memory = Memory(it.sessions, it.models, it.clock)

        chosen = await memory.choose(tasks[-1].spec, Equipment(large, {}))

    assert chosen is not None
    assert chosen.window.is_cut
    assert [len(each.content) for each in chosen.messages[::2]] == [900] * 4
    assert hs.size(chosen.messages) <= MAX_BYTES
