"""Who gets a slot, in which order, and who is turned away."""

import asyncio
from datetime import timedelta

import pytest

from services.chassis.errors import ResourceExhausted
from services.inference.domain.request import Priority
from services.inference.engines.slots import Slots

BATCH, INTERACTIVE = Priority.BATCH, Priority.INTERACTIVE


def slots(count: int, *, queue: int = 8) -> Slots:
    """Slots."""
    return Slots(count, queue=queue, retry_after=timedelta(seconds=1))


async def settled() -> None:
    """Let everything that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_interactive_requests_overtake_a_batch_in_the_queue() -> None:
    both, order = slots(1), []

    async def one(name: str, priority: Priority) -> None:
        await both.acquire(priority)
        order.append(name)
        both.release()

    await both.acquire()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for name, priority in (("b1", BATCH), ("b2", BATCH), ("i1", INTERACTIVE)):
            group.create_task(one(name, priority))
            await settled()
        group.create_task(one("i2", INTERACTIVE))
        await settled()
        both.release()

    assert order == ["i1", "i2", "b1", "b2"]
    assert (both.active, both.waiting) == (0, 0)


async def test_a_batch_leaves_the_last_free_slot_alone() -> None:
    both = slots(3)
    await both.acquire(BATCH)
    await both.acquire(BATCH)
    third = asyncio.create_task(both.acquire(BATCH))
    await settled()

    assert (both.active, both.waiting) == (2, 1)

    assert await both.acquire(INTERACTIVE) == 0.0  # Past the one that waits.

    both.release()
    await settled()
    assert not third.done()  # Two are busy still.

    both.release()
    async with asyncio.timeout(5):
        await third
    assert (both.active, both.waiting) == (2, 0)


async def test_a_batch_takes_the_only_slot_while_nobody_waits() -> None:
    only = slots(1)

    assert await only.acquire(BATCH) == 0.0


async def test_a_full_queue_turns_away_a_batch_before_anybody_who_waits() -> None:
    both = slots(1, queue=2)
    await both.acquire()
    first, second = (asyncio.create_task(both.acquire(BATCH)) for _ in range(2))
    await settled()
    interactive = asyncio.create_task(both.acquire(INTERACTIVE))
    await settled()

    with pytest.raises(ResourceExhausted) as turned_away:
        await second
    assert turned_away.value.reason == "ENGINE_OVERLOADED"
    assert turned_away.value.retry_after == timedelta(seconds=1)

    with pytest.raises(ResourceExhausted):
        await both.acquire(BATCH)
    both.release()
    async with asyncio.timeout(5):
        await interactive
    assert not first.done()
    first.cancel()


async def test_an_interactive_request_takes_a_free_slot_past_a_queue_that_a_batch_fills() -> None:
    both = slots(2, queue=1)
    await both.acquire(BATCH)
    waits = asyncio.create_task(both.acquire(BATCH))
    await settled()

    assert await both.acquire(INTERACTIVE) == 0.0

    assert (both.active, both.waiting) == (2, 1)
    waits.cancel()


async def test_who_goes_away_gives_up_the_place_or_the_slot() -> None:
    both = slots(1)
    await both.acquire()
    waits, given = (asyncio.create_task(both.acquire()) for _ in range(2))
    await settled()
    waits.cancel()
    await settled()
    assert (both.active, both.waiting) == (1, 1)

    both.release()
    given.cancel()  # In the same turn of the loop: it has a slot that it never heard of.
    await asyncio.wait([given, waits])

    assert (both.active, both.waiting) == (0, 0)


async def test_who_has_just_gone_away_is_not_turned_away_as_well() -> None:
    only = slots(1, queue=2)
    await only.acquire()
    stays, goes = (asyncio.create_task(only.acquire(BATCH)) for _ in range(2))
    await settled()
    interactive = asyncio.create_task(only.acquire(INTERACTIVE))
    goes.cancel()  # It stands in the queue until its turn of the loop, behind the interactive one.
    await asyncio.wait([goes])
    only.release()
    async with asyncio.timeout(5):
        await interactive

    assert goes.cancelled()
    assert not stays.done()
    stays.cancel()
