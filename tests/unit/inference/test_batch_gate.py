"""Which items of batches have a seat."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from services.chassis.errors import FailedPrecondition, NotFound
from services.inference.batching.gate import Gate, Seat
from services.inference.domain.model import Model
from services.inference.engines.echo.engine import EchoEngine
from services.inference.ports import Serving


class Crowded(EchoEngine):
    """An engine that says how crowded it is."""

    busy = 0
    queued = 0

    @property
    def active(self) -> int:
        """As the test has it."""
        return self.busy

    @property
    def waiting(self) -> int:
        """As the test has it."""
        return self.queued


@dataclass
class Models:
    """A catalogue of one."""

    engine: Crowded
    is_loaded: bool = True

    def find(self, tenant: str, name: str, *, field: str = "model") -> Serving:
        """The one, or not."""
        if not self.is_loaded:
            raise FailedPrecondition("MODEL_NOT_LOADED", "load it")
        if name:
            raise NotFound("MODEL_NOT_FOUND", "there is none")
        return Serving(self.engine.models()[0], self.engine)

    def models(self, tenant: str) -> Sequence[Model]:
        """The one."""
        return self.engine.models()


@asynccontextmanager
async def gate(models: Models, most: int | None = None) -> AsyncIterator[Gate]:
    """A gate that looks."""
    found = Gate(models, most, unknown_seconds=0.05)
    looking = asyncio.create_task(found.look_after())
    async with asyncio.timeout(5):
        yield found
    looking.cancel()
    await asyncio.wait([looking])


async def settled() -> None:
    """Let everything that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("slots", "most", "seats"), [(1, None, 1), (4, None, 3), (4, 2, 2)])
async def test_all_slots_but_one_have_seats(slots: int, most: int | None, seats: int) -> None:
    async with gate(Models(Crowded(slots=slots)), most) as found:
        asking = [asyncio.create_task(found.seat("t", "")) for _ in range(6)]
        await settled()

        assert (sum(each.done() for each in asking), found.running) == (seats, seats)
        for each in asking:
            each.cancel()


async def test_a_seat_that_is_left_is_the_next_ones() -> None:
    async with gate(Models(Crowded(slots=2))) as found:
        first = await found.seat("t", "")
        second = asyncio.create_task(found.seat("t", ""))
        third = asyncio.create_task(found.seat("t", "", is_first=True))
        await settled()
        found.leave(first)

        assert isinstance(await third, Seat)
        assert not second.done()
        second.cancel()


async def test_nobody_is_seated_while_others_use_the_engine() -> None:
    engine = Crowded(slots=4)
    engine.busy = 3
    async with gate(Models(engine)) as found:
        asking = asyncio.create_task(found.seat("t", ""))
        await settled()
        is_seated = asking.done()
        engine.busy = 2

        assert not is_seated
        assert await asking  # At the next look.


async def test_the_latest_seats_are_taken_back_one_for_each_who_waits() -> None:
    engine = Crowded(slots=4)
    async with gate(Models(engine)) as found:
        seats = [await found.seat("t", "", is_firm=index == 2) for index in range(3)]
        engine.busy, engine.queued = 4, 1
        with pytest.raises(TimeoutError):
            await _lent(seats[1])

        assert [seat.is_taken_back for seat in seats] == [False, True, False]


async def test_a_model_that_is_not_loaded_is_waited_for() -> None:
    models = Models(Crowded(slots=2), is_loaded=False)
    async with gate(models) as found:
        asking = asyncio.create_task(found.seat("t", ""))
        await settled()
        was_seated = asking.done()
        models.is_loaded = True

        assert not was_seated
        assert await asking


async def test_a_model_that_there_is_not_is_refused_after_a_while() -> None:
    async with gate(Models(Crowded())) as found:
        asking = asyncio.create_task(found.seat("t", "none"))
        await settled()
        is_waiting = not asking.done()
        with pytest.raises(NotFound):
            await asking
        again = asyncio.create_task(found.seat("t", "none"))
        await settled()

        assert is_waiting
        assert again.done()  # That it is unknown is known by now.
        assert isinstance(again.exception(), NotFound)
        assert found.running == 0


async def test_who_goes_away_leaves_no_seat_taken() -> None:
    async with gate(Models(Crowded(slots=2))) as found:
        first = await found.seat("t", "")
        second = asyncio.create_task(found.seat("t", ""))
        await settled()
        found.leave(first)
        second.cancel()  # It was given a seat that it has not heard of.
        await asyncio.wait([second])

        assert found.running == 0


async def _lent(seat: Seat) -> None:
    """Hold a seat until it is taken back."""
    async with asyncio.timeout(None) as scope:
        seat.bind(scope)
        await asyncio.Event().wait()
