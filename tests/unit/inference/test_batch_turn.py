"""One item of a batch on its way to an outcome."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta

from services.inference.batching.gate import Seat
from services.inference.batching.turn import ATTEMPTS, Turn, World
from services.inference.domain.batch import Item, ItemState, Spec
from services.inference.domain.generation import Finished
from services.inference.domain.model import Model
from services.inference.domain.request import Message, Request
from services.inference.engines.echo.engine import EchoEngine
from services.inference.ports import Serving
from services.inference.usecases.inference import Inference

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SPEC = Spec("batch_a", "t", "me", "", "", {}, NOW + timedelta(hours=1))


class Engine(EchoEngine):
    """Echo, which counts what it was asked."""

    asked = 0

    def generate(
        self, request: Request, *, pace: timedelta
    ) -> AsyncGenerator[str | Finished, None]:
        self.asked += 1
        return super().generate(request, pace=pace)


class Open:
    """A catalogue of one, and a gate that has a seat for everybody."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.seats: list[Seat] = []

    def find(self, tenant: str, name: str, *, field: str = "model") -> Serving:
        return Serving(self.engine.models()[0], self.engine)

    def models(self, tenant: str) -> Sequence[Model]:
        return self.engine.models()

    async def seat(
        self, tenant: str, model: str, *, is_first: bool = False, is_firm: bool = False
    ) -> Seat:
        self.seats.append(Seat(self.find(tenant, model), is_firm=is_firm))
        return self.seats[-1]

    def leave(self, seat: Seat) -> None:
        self.seats.remove(seat)


async def turn(around: Open, text: str) -> Turn:
    world = World(None, Inference(around, timedelta(0), 1 << 20, lambda: NOW), around, lambda: NOW)
    item = Item("a", Request("", (Message("user", text),)))
    return Turn(world, SPEC, item, 0, await around.seat("t", ""))


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_failed_counts_though_the_seat_is_taken_back_before_it_is_tried_again() -> None:
    around = Open()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        running = group.create_task((await turn(around, "fail")).run())
        for _ in range(ATTEMPTS - 1):
            await settled()
            around.seats[0].take_back()  # It waits to try again.
        outcome = await running

    assert (outcome.state, outcome.attempts) == (ItemState.FAILED, ATTEMPTS)
    assert around.engine.asked == ATTEMPTS


async def test_a_turn_that_is_interrupted_is_no_attempt() -> None:
    around = Open()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        running = group.create_task((await turn(around, "sleep:50\nhi")).run())
        await settled()
        around.seats[0].take_back()
        outcome = await running

    assert (outcome.state, outcome.attempts, outcome.text) == (ItemState.COMPLETED, 1, "hi")
    assert around.engine.asked == 2
