"""What every hot store promises."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

import pytest

from services.chassis.hotstore.port import Entry, HotStore, Subscription

MINUTE = timedelta(minutes=1)


class Clock(Protocol):
    def advance(self, by: timedelta) -> None: ...


def entries(*sequences: int) -> list[Entry]:
    return [Entry(n, b"%d" % n) for n in sequences]


async def heard(subscription: Subscription) -> Sequence[Entry]:
    async with asyncio.timeout(5):
        return await subscription.next()


async def heard_until(subscription: Subscription, last: int) -> list[Entry]:
    met: list[Entry] = []
    while not met or met[-1].sequence != last:
        met += await heard(subscription)
    return met


async def test_every_subscriber_hears_what_is_published_in_order(store: HotStore) -> None:
    async with store.subscribe("t") as first, store.subscribe("t") as second:
        await store.publish("t", entries(1, 2))
        await store.publish("t", entries(3))

        assert await heard_until(first, 3) == entries(1, 2, 3)
        assert await heard_until(second, 3) == entries(1, 2, 3)


async def test_a_subscriber_waits_until_something_is_published(store: HotStore) -> None:
    async with store.subscribe("t") as subscription, asyncio.TaskGroup() as group:
        waiting = group.create_task(heard(subscription))
        await asyncio.sleep(0)
        assert not waiting.done()
        await store.publish("t", entries(7))

    assert list(waiting.result()) == entries(7)


async def test_a_subscriber_hears_nothing_from_before_or_from_other_topics(
    store: HotStore,
) -> None:
    await store.publish("t", entries(1))
    async with store.subscribe("t") as subscription:
        await store.publish("other", entries(2))
        await store.publish("t", entries(3))

        assert list(await heard(subscription)) == entries(3)


async def test_publishing_no_entries_wakes_nobody(store: HotStore) -> None:
    async with store.subscribe("t") as subscription:
        await store.publish("t", [])
        await store.publish("t", entries(1))

        assert list(await heard(subscription)) == entries(1)


async def test_a_slow_subscriber_misses_the_oldest_and_costs_a_bounded_amount(
    store: HotStore,
) -> None:
    async with store.subscribe("t") as slow, store.subscribe("t") as quick:
        for n in range(1, 5_001):
            await store.publish("t", entries(n))
            if n % 100 == 0:
                await heard_until(quick, n)

        met = await heard_until(slow, 5_000)

    assert len(met) < 5_000
    assert [entry.sequence for entry in met] == list(range(5_001 - len(met), 5_001))


async def test_a_slow_subscriber_of_large_entries_keeps_few_of_them_but_the_newest(
    store: HotStore,
) -> None:
    async with store.subscribe("t") as slow, store.subscribe("t") as quick:
        for n in range(1, 101):
            await store.publish("t", [Entry(n, b"x" * 100_000)])
            await heard_until(quick, n)
        await store.publish("t", [Entry(101, b"x" * 3_000_000)])
        await heard_until(quick, 101)

        met = await heard_until(slow, 101)

    assert len(met) == 1


async def test_a_wait_that_was_given_up_loses_nothing(store: HotStore) -> None:
    async with store.subscribe("t") as subscription:
        waiting = asyncio.ensure_future(subscription.next())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await store.publish("t", entries(1))

        assert list(await heard(subscription)) == entries(1)


async def test_who_has_left_costs_the_others_nothing(store: HotStore) -> None:
    async with store.subscribe("t") as staying:
        async with store.subscribe("t"):
            pass
        await store.publish("t", entries(1))

        assert list(await heard(staying)) == entries(1)


async def test_a_value_is_kept_replaced_and_forgotten(store: HotStore) -> None:
    await store.set("k", b"\x00one", ttl=MINUTE)
    first = await store.get("k")
    await store.set("k", b"two", ttl=MINUTE)
    second = await store.get("k")
    await store.delete("k")
    await store.delete("never-there")

    assert (first, second, await store.get("k")) == (b"\x00one", b"two", None)


async def test_a_value_expires(store: HotStore, clock: Clock) -> None:
    await store.set("k", b"v", ttl=MINUTE)
    clock.advance(timedelta(seconds=59))
    before = await store.get("k")
    clock.advance(timedelta(seconds=1))

    assert before == b"v"
    assert await store.get("k") is None


async def test_setting_a_value_again_gives_it_a_new_life(store: HotStore, clock: Clock) -> None:
    await store.set("k", b"v", ttl=MINUTE)
    clock.advance(timedelta(seconds=59))
    await store.set("k", b"v", ttl=MINUTE)
    clock.advance(timedelta(seconds=59))

    assert await store.get("k") == b"v"


async def test_a_counter_starts_at_zero_and_goes_both_ways(store: HotStore) -> None:
    assert await store.add("c", 2, ttl=MINUTE) == 2
    assert await store.add("c", 3, ttl=MINUTE) == 5
    assert await store.add("c", -6, ttl=MINUTE) == -1
    assert await store.add("other", 1, ttl=MINUTE) == 1


async def test_a_counters_life_is_counted_from_its_first_addition(
    store: HotStore, clock: Clock
) -> None:
    await store.add("c", 1, ttl=MINUTE)
    clock.advance(timedelta(seconds=59))
    before = await store.add("c", 1, ttl=MINUTE)
    clock.advance(timedelta(seconds=1))

    assert before == 2
    assert await store.add("c", 1, ttl=MINUTE) == 1


async def test_additions_at_once_are_all_counted(store: HotStore) -> None:
    totals = await asyncio.gather(*(store.add("c", 1, ttl=MINUTE) for _ in range(100)))

    assert sorted(totals) == list(range(1, 101))


async def test_a_counter_can_be_forgotten(store: HotStore) -> None:
    await store.add("c", 5, ttl=MINUTE)
    await store.delete("c")

    assert await store.add("c", 1, ttl=MINUTE) == 1


@pytest.mark.parametrize("size_bytes", [0, 1, 1_000_000])
async def test_values_of_any_size_come_back(store: HotStore, size_bytes: int) -> None:
    await store.set("k", b"x" * size_bytes, ttl=MINUTE)

    assert await store.get("k") == b"x" * size_bytes
