"""A Redis that goes away and comes back: what it held is lost, and nothing else."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from services.chassis.hotstore.port import Entry
from services.chassis.hotstore.redis import opened
from tests.servers.redis import Redis
from tests.servers.redis import redis as redis_server

MINUTE = timedelta(minutes=1)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def server() -> Iterator[Redis]:
    """A Redis of this test's own."""
    with redis_server() as running:
        yield running


async def test_while_it_is_away_nothing_waits_for_it_and_nothing_fails(server: Redis) -> None:
    async with opened(server.url, now=now) as store, store.subscribe("t") as here:
        await store.set("k", b"v", ttl=MINUTE)
        server.stop()

        async with asyncio.timeout(5):
            await store.publish("t", [Entry(1, b"one")])
            heard = await here.next()
            value = await store.get("k")
            await store.set("k", b"w", ttl=MINUTE)
            await store.delete("k")
            counts = [await store.add("c", 1, ttl=MINUTE) for _ in range(2)]

    assert list(heard) == [Entry(1, b"one")]
    assert (value, counts) == (None, [1, 2])


async def test_when_it_returns_replicas_hear_each_other_again(server: Redis) -> None:
    async with (
        opened(server.url, now=now) as one,
        opened(server.url, now=now) as other,
        other.subscribe("t") as there,
        asyncio.timeout(20),
    ):
        server.stop()
        await one.publish("t", [Entry(1, b"lost")])
        await one.settled()
        server.start()
        heard: list[Entry] = []
        number = 2
        while not heard:
            await one.publish("t", [Entry(number, b"again")])
            await one.settled()
            number += 1
            waiting = asyncio.ensure_future(there.next())
            await asyncio.wait((waiting,), timeout=0.2)
            heard += waiting.result() if waiting.done() else ()
            waiting.cancel()

    assert {entry.body for entry in heard} == {b"again"}


async def test_it_may_be_away_when_the_service_starts(server: Redis) -> None:
    server.stop()

    async with asyncio.timeout(20), opened(server.url, now=now) as store:
        before = await store.get("k")
        server.start()
        await store.set("k", b"v", ttl=MINUTE)
        after = await store.get("k")

    assert (before, after) == (None, b"v")
