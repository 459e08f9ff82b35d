"""Questions that are asked side by side."""

import asyncio
from functools import partial

import pytest

from services.chassis.errors import NotFound
from services.orchestrator.beside import MOST, beside


class Asked:
    """Counts who is being answered at once."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0
        self.done = 0

    async def __call__(self, number: int) -> int:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        self.done += 1
        if number in (3, 5):
            raise NotFound("GONE", str(number))
        return number


async def test_answers_come_in_the_order_of_the_questions_and_not_too_many_at_once() -> None:
    asked = Asked()
    numbers = range(10, 40)

    said = await beside([partial(asked, number) for number in numbers])

    assert said == [*numbers]
    assert asked.most == MOST


async def test_the_first_that_fails_is_the_one_that_is_told_of() -> None:
    asked = Asked()

    with pytest.raises(NotFound) as caught:
        await beside([partial(asked, number) for number in reversed(range(8))])

    assert caught.value.message == "5"
    assert asked.done == 8
