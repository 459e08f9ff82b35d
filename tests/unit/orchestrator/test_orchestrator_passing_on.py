"""When the next model of a route has a turn, and when not: the seams to cache, claims and races."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace

import pytest

from services.chassis.errors import InvalidArgument, Unavailable
from services.orchestrator.domain.events import Sampling
from services.orchestrator.domain.routing import Policy, Route, Rule
from services.orchestrator.hearing import Hearing
from services.orchestrator.ports import Generation, Model, Piece
from tests.unit.orchestrator.fakes import MODEL, REQUEST, SPEC, bench, caller, end_of
from tests.unit.orchestrator.test_orchestrator_falling import (
    NEXT,
    ROUTED,
    Unloaded,
    ended,
    taken,
)


async def test_a_turn_that_another_task_let_go_of_says_nothing_against_its_model() -> None:
    lost = Unavailable("SHARED_TURN_LOST", "the turn that this one shares had no more time")
    async with bench((lost,), ("two",)) as it:
        task = await ended(it)

    assert [each.model for each in it.models.asked] == ["fake", "fake"]
    assert (task.text, task.model) == ("two", "fake")
    assert not it.seen.is_ailing(("default", "fake"))


@dataclass
class Loading(Unloaded):
    """Loads its default model, and takes long."""

    async def resolve(self, name: str) -> Model:
        """See `Models`."""
        if name == MODEL.name:
            raise Unavailable("ENGINE_LOADING", "it is being loaded")
        return await super().resolve(name)


async def test_a_task_whose_model_is_still_loaded_when_it_is_taken_up_gets_the_next_one() -> None:
    async with bench(("One, ", asyncio.Event())) as it:
        run = await it.submit(SPEC, routed=ROUTED)
        await it.models.said.wait()
        run.give_up()
        await end_of(run)
        async with bench(beside=it.log) as other:
            other.models = Loading((("two",),), others=(NEXT,))
            claim = await taken(it, other)
            task = await end_of(await other.worker.take_up(other.world, claim))

    assert (task.text, task.model) == ("One, two", "next")


@dataclass
class Speaker:
    """Says one word, and is silent then."""

    may_speak: asyncio.Event = field(default_factory=asyncio.Event)
    has_spoken: asyncio.Event = field(default_factory=asyncio.Event)
    closed: int = 0

    async def generate(
        self, generation: Generation, *, timeout: float
    ) -> AsyncGenerator[Piece, None]:
        """See `Speakers`."""
        try:
            await self.may_speak.wait()
            self.has_spoken.set()
            yield Piece("One")
            await asyncio.Event().wait()
        finally:
            self.closed += 1


async def test_a_race_that_is_given_up_just_when_it_is_won_closes_both_calls() -> None:
    speaker = Speaker()
    hearing = Hearing(speaker, hedge_after=0.01)
    generation = Generation("fake", (), Sampling(), 8, None)

    async def heard() -> None:
        async for _ in hearing.generate(generation, timeout=5):
            raise AssertionError

    listening = asyncio.create_task(heard())
    await asyncio.sleep(1)  # Leaps: both calls are made by then.
    speaker.may_speak.set()
    await speaker.has_spoken.wait()
    listening.cancel()
    await asyncio.wait([listening])

    assert listening.cancelled()
    assert speaker.closed == 2


def route(*models: str) -> Route:
    return Route("default", (Rule(Policy.PINNED, models),))


async def test_a_prompt_that_is_longer_than_it_looked_is_left_to_a_wider_model_of_the_route() -> (
    None
):
    too_long = InvalidArgument("CONTEXT_WINDOW_EXCEEDED", "too long")
    async with bench((too_long,), ("two",)) as it:
        it.models.model, it.models.others = replace(MODEL, context_tokens=600), (NEXT,)
        it.models.prompt_tokens = 700
        it.routes = {"default": route("fake", "next")}
        task = await it.tasks.create(replace(REQUEST, query="long" * 225), caller())
        run = it.worker.find("default", task.spec.task_id)
        assert run is not None
        ended_ = await end_of(run)

    assert (ended_.text, ended_.model) == ("two", "next")


async def test_a_prompt_that_no_model_of_the_route_takes_is_refused_at_once() -> None:
    async with bench() as it:
        it.models.model = replace(MODEL, context_tokens=600)
        it.models.others = (replace(NEXT, context_tokens=650),)
        it.models.prompt_tokens = 700
        it.routes = {"default": route("fake", "next")}
        with pytest.raises(InvalidArgument) as caught:
            await it.tasks.create(replace(REQUEST, query="long" * 225), caller())

    assert (caught.value.reason, caught.value.metadata["model"]) == (
        "CONTEXT_WINDOW_EXCEEDED",
        "next",
    )
