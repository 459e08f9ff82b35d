"""Turns of models that those share who ask the same at once."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import pytest

from services.chassis.errors import DeadlineExceeded, ServiceError
from services.orchestrator.ports import Generation, Models, Piece
from tests.unit.orchestrator.caches import (
    ASKED,
    GONE,
    cache,
    heard,
    is_free,
    text,
)
from tests.unit.orchestrator.fakes import FakeModels, pass_time


async def test_who_asks_the_same_at_once_shares_one_turn_and_one_pays() -> None:
    async with cache() as c:
        said = await asyncio.gather(*(heard(c.models) for _ in range(5)))

    assert {text(each) for each in said} == {"Hello"}
    assert [is_free(each) for each in said] == [False, True, True, True, True]
    assert (c.asked, c.answers.counts.hits["shared"]) == (1, 4)


async def test_who_comes_later_hears_a_turn_from_its_beginning_while_it_goes_on() -> None:
    go_on = asyncio.Event()
    async with cache(("Hel", go_on, "lo")) as c, asyncio.TaskGroup() as group:
        first = group.create_task(heard(c.models))
        await c.behind.said.wait()
        async with aclosing(c.models.generate(ASKED, timeout=30)) as pieces:
            beginning = await anext(pieces)
            go_on.set()
            rest = [piece async for piece in pieces]

    assert (beginning.text, beginning.is_cached, text(rest)) == ("Hel", True, "lo")
    assert not is_free(first.result())
    assert c.asked == 1


async def test_when_the_first_goes_the_next_pays_and_hears_on() -> None:
    go_on = asyncio.Event()
    async with cache(("Hel", go_on, "lo")) as c, asyncio.TaskGroup() as group:
        first, second, third = (group.create_task(heard(c.models)) for _ in range(3))
        await c.behind.said.wait()
        first.cancel()
        await asyncio.wait([first])
        go_on.set()

    assert first.cancelled()
    assert [text(each.result()) for each in (second, third)] == ["Hello", "Hello"]
    assert [is_free(each.result()) for each in (second, third)] == [False, True]
    assert c.asked == 1


async def test_when_all_have_gone_the_model_stops_and_is_asked_anew() -> None:
    class Watched(FakeModels):
        closed = 0

        async def generate(self, generation: Generation, *, timeout: float) -> Any:
            try:
                async for piece in super().generate(generation, timeout=timeout):
                    yield piece
            finally:
                self.closed += 1

    watched = Watched((("Hel", asyncio.Event()), ("Hello",)))
    async with cache() as c, asyncio.TaskGroup() as group:
        c.models._models = watched
        listening = [group.create_task(heard(c.models)) for _ in range(3)]
        await watched.said.wait()
        for each in listening:
            each.cancel()
        await asyncio.wait(listening)
        stopped = watched.closed
        again = await heard(c.models)

    assert (stopped, len(watched.asked)) == (1, 2)
    assert (text(again), is_free(again)) == ("Hello", False)


async def test_who_comes_while_a_model_is_stopped_asks_anew() -> None:
    closes = asyncio.Event()
    async with cache(("Hel", asyncio.Event()), ("Hello",)) as c, asyncio.TaskGroup() as group:
        c.behind.closes_after = closes
        first = group.create_task(heard(c.models))
        await c.behind.said.wait()
        first.cancel()
        await asyncio.sleep(0)
        again = group.create_task(heard(c.models))
        await asyncio.sleep(0)
        closes.set()

    assert first.cancelled()
    assert (text(again.result()), is_free(again.result())) == ("Hello", False)


async def test_what_fails_fails_for_all_who_share_it_and_is_over() -> None:
    async with cache(("Hel", GONE), ("Hello",)) as c:
        said = await asyncio.gather(*(heard(c.models) for _ in range(3)), return_exceptions=True)
        again = await heard(c.models)

    assert said == [GONE] * 3
    assert text(again) == "Hello"
    assert c.asked == 2


async def test_a_fault_of_ours_is_an_error_for_all_and_ends_nothing_else() -> None:
    class Broken(FakeModels):
        async def generate(self, generation: Generation, *, timeout: float) -> Any:
            raise LookupError("ours")
            yield

    async with cache() as c:
        c.models._models = Broken()
        said = await asyncio.gather(*(heard(c.models) for _ in range(2)), return_exceptions=True)

    assert [each.reason for each in said if isinstance(each, ServiceError)] == ["INTERNAL"] * 2


async def test_a_turn_with_too_little_time_is_not_shared() -> None:
    async with cache(("Hel", asyncio.Event()), ("Hello",)) as c, asyncio.TaskGroup() as group:
        first = group.create_task(heard(c.models, timeout=1))
        await c.behind.said.wait()
        second = await heard(c.models, timeout=300)
        first.cancel()

    assert (text(second), is_free(second)) == ("Hello", False)


async def test_the_time_that_is_over_is_that_of_who_asked_first() -> None:
    late, over = asyncio.Event(), DeadlineExceeded("DEADLINE_EXCEEDED", "over")
    async with cache(("Hel", late, over)) as c, asyncio.TaskGroup() as group:
        both = [group.create_task(outcome(c.models, seconds)) for seconds in (30, 300)]
        await c.behind.said.wait()
        late.set()

    assert [each.result() for each in both] == ["DEADLINE_EXCEEDED", "SHARED_TURN_LOST"]


async def outcome(models: Models, timeout: float) -> str:
    try:
        return text(await heard(models, timeout=timeout))
    except ServiceError as error:
        return error.reason


async def test_who_shares_a_turn_waits_no_longer_than_their_own_time() -> None:
    async with cache(("Hel", asyncio.Event())) as c, asyncio.TaskGroup() as group:
        first = group.create_task(heard(c.models, timeout=300))
        await c.behind.said.wait()
        end = await outcome(c.models, 5)
        waited = asyncio.get_running_loop().time()
        first.cancel()

    assert (end, waited) == ("DEADLINE_EXCEEDED", pytest.approx(5))


@pytest.mark.parametrize("seed", range(20))
async def test_whoever_hears_a_turn_out_has_heard_all_of_it_and_somebody_paid(seed: int) -> None:
    chance = random.Random(seed)
    words = [str(number) for number in range(20)]

    class Paced(FakeModels):
        async def generate(self, generation: Generation, *, timeout: float) -> Any:
            async for piece in super().generate(generation, timeout=timeout):
                await pass_time(1)
                yield piece

    async def listen(models: Models, after: float, leaves_after: float) -> Sequence[Piece] | None:
        await pass_time(after)
        try:
            async with asyncio.timeout(leaves_after):
                return await heard(models, timeout=300)
        except TimeoutError:
            return None

    async with cache() as c, asyncio.TaskGroup() as group:
        c.models._models = behind = Paced((words,))
        waits = [(chance.uniform(0, 30), chance.uniform(1, 60)) for _ in range(12)]
        listening = [group.create_task(listen(c.models, *each)) for each in waits]

    ends = [each.result() for each in listening]
    whole = [end for end in ends if end is not None]
    assert {text(end) for end in whole} <= {"".join(words)}
    assert sum(not is_free(end) for end in whole) <= len(behind.asked)
    assert not whole or any(not is_free(end) for end in whole)
    assert not c.models._flights
