import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from services.chassis.errors import Unavailable
from services.orchestrator.adapters.cached import Cached
from tests.unit.orchestrator.fakes import pass_time

GONE = Unavailable("PEER_UNAVAILABLE", "gone")
TTL = timedelta(seconds=5)


class Source:
    """Gives these one after the other, each a while after it was asked for."""

    def __init__(self, *gives: int | Unavailable) -> None:
        self._gives = gives
        self.asked = 0

    async def __call__(self) -> int:
        """The next of them."""
        given = self._gives[self.asked]
        self.asked += 1
        await pass_time(1)
        if isinstance(given, Unavailable):
            raise given
        return given


async def together(cached: Cached[int], callers: int) -> Sequence[int | BaseException]:
    async with asyncio.timeout(60):
        getting = (cached.get() for _ in range(callers))
        return await asyncio.gather(*getting, return_exceptions=True)


async def test_who_comes_while_a_value_is_fetched_gets_the_same() -> None:
    source = Source(1, 2)

    values = await together(Cached(source, TTL), 5)

    assert (values, source.asked) == ([1] * 5, 1)


async def test_who_waited_for_a_fetch_that_failed_does_not_fetch_again() -> None:
    source = Source(*[GONE] * 5)

    values = await together(Cached(source, TTL), 5)

    assert (values, source.asked) == ([GONE] * 5, 1)


async def test_a_fetch_that_failed_is_made_again_for_who_comes_later() -> None:
    source = Source(GONE, 2)
    cached = Cached(source, TTL)
    await together(cached, 1)
    await pass_time(0.001)

    value = await cached.get()

    assert (value, source.asked) == (2, 2)


@pytest.mark.parametrize(("later", "value"), [(3.9, 1), (5.1, 2)])
async def test_a_value_is_kept_until_it_is_old(later: float, value: int) -> None:
    cached = Cached(Source(1, 2), TTL)
    await cached.get()
    await pass_time(later)

    assert await cached.get() == value
