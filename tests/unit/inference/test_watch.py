"""A process whose engine is dead does not stay."""

import asyncio

import pytest

from services.chassis.errors import Unavailable
from services.chassis.server import Health
from services.inference.engines import failures
from services.inference.watch import watched


class Engine:
    """One that can die."""

    def __init__(self) -> None:
        self.is_dead = False
        self.looked = asyncio.Event()

    async def check(self) -> None:
        """As engines do."""
        self.looked.set()
        if self.is_dead:
            raise failures.engine_failed("it is dead")


async def test_a_dead_engine_is_told_by_health_and_ends_what_runs() -> None:
    engine, health = Engine(), Health(["x"])
    await health.set_serving(True)

    async def serve() -> None:
        async with asyncio.timeout(5), watched(engine.check, health):
            engine.is_dead = True
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        await serve()

    assert [type(each) for each in caught.value.exceptions] == [Unavailable]
    assert not health.is_serving()


async def test_who_leaves_is_not_held_up_by_a_living_engine() -> None:
    engine = Engine()

    async with asyncio.timeout(5), watched(engine.check, None):
        await engine.looked.wait()

    assert not engine.is_dead
