"""A Redis that goes away and comes back: what it held is lost, and nothing else."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis as Client
from redis.asyncio import SSLConnection

from services.chassis.hotstore import redis, redis_posts
from services.chassis.hotstore.port import Entry, HotStore, Subscription
from services.chassis.hotstore.redis import _connected, opened
from tests.servers.redis import Redis, RedisCluster, redis_cluster
from tests.servers.redis import redis as redis_server

_CHANNEL = "runplane:live:"
MINUTE = timedelta(minutes=1)
KEYS = [f"k{number}" for number in range(12)]  # Each master of a cluster has some.


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def server() -> Iterator[Redis]:
    """A Redis of this test's own."""
    with redis_server() as running:
        yield running


@pytest.fixture
def cluster() -> Iterator[RedisCluster]:
    """A cluster of this test's own."""
    with redis_cluster() as running:
        yield running


async def agreed(client: Client, *topics: str) -> None:
    """Wait until processes hear of these topics, and of no others."""
    channels, heard = {_CHANNEL, *(f"{_CHANNEL}{topic}" for topic in topics)}, set[str]()
    while heard != channels:
        heard = set(await client.pubsub_channels(f"{_CHANNEL}*"))


async def told_by(one: HotStore, other: HotStore, topic: str) -> set[bytes]:
    """What one hears once the other is heard again."""
    async with other.subscribe(topic) as there:
        return {entry.body for entry in await heard_from(one, topic, there)}


async def heard_from(one: HotStore, topic: str, there: Subscription) -> list[Entry]:
    """What is heard there of what one publishes again and again."""
    heard: list[Entry] = []
    while not heard:
        await one.publish(topic, [Entry(1, b"again")])
        waiting = asyncio.ensure_future(there.next())
        await asyncio.wait((waiting,), timeout=0.2)
        heard += waiting.result() if waiting.done() else ()
        waiting.cancel()
    return heard


async def kept_by(one: HotStore, other: HotStore, key: str) -> bytes:
    """What the other reads once the one can keep a value again."""
    while (value := await other.get(key)) is None:
        await one.set(key, b"again", ttl=MINUTE)
    return value


async def while_away(store: HotStore) -> list[Entry]:
    """Use every part of a store that is away, or half away; what was heard here all the same."""
    async with store.subscribe("t") as here:
        await store.publish("t", [Entry(1, b"one")])
        heard = await here.next()
    await asyncio.gather(*(store.set(key, b"v", ttl=MINUTE) for key in KEYS))
    await asyncio.gather(*(store.add(f"count {key}", 1, ttl=MINUTE) for key in KEYS))
    await asyncio.gather(*(store.delete(key) for key in KEYS))
    return list(heard)


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
        asyncio.timeout(20),
    ):
        server.stop()
        await while_away(one)
        server.start()
        told = await told_by(one, other, "u")

    assert told == {b"again"}


async def test_it_may_be_away_when_the_service_starts(server: Redis) -> None:
    server.stop()

    async with asyncio.timeout(20), opened(server.url, now=now) as store:
        before = await store.get("k")
        server.start()
        await store.set("k", b"v", ttl=MINUTE)
        after = await store.get("k")

    assert (before, after) == (None, b"v")


async def test_a_store_closes_at_once_while_its_readers_wait(
    cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_posts, "BEAT", 60.0)

    async with asyncio.timeout(20):
        for _ in range(3):
            async with opened(cluster.url, now=now) as store:
                value = await store.get("k")

    assert value is None


async def test_a_store_closes_at_once_right_after_a_change(
    server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("BEAT", 60.0), ("TICK", 0.2)):
        monkeypatch.setattr(redis_posts, name, seconds)
    monkeypatch.setattr(redis, "ENDING", 60.0)

    async with asyncio.timeout(20), Client.from_url(server.url, decode_responses=True) as client:
        async with opened(server.url, now=now) as store:
            await agreed(client)
            async with store.subscribe("t"):
                await asyncio.sleep(0)  # It has heard of the change, and waits for more of them.
                await asyncio.sleep(0)
        left = await client.pubsub_channels(f"{_CHANNEL}*")

    assert left == []


async def test_a_cluster_without_one_of_its_masters_fails_nothing_and_heals(
    cluster: RedisCluster,
) -> None:
    async with (
        asyncio.timeout(60),
        opened(cluster.url, now=now) as one,
        opened(cluster.url, now=now) as other,
    ):
        lost = cluster.masters[1]
        lost.stop()
        heard = await while_away(one)
        lost.start()
        await asyncio.to_thread(cluster.wait)
        kept = [await kept_by(one, other, key) for key in KEYS]
        told = [await told_by(one, other, f"topic {key}") for key in KEYS]

    assert heard == [Entry(1, b"one")]
    assert kept == [b"again"] * len(KEYS)
    assert told == [{b"again"}] * len(KEYS)


@pytest.mark.parametrize("option", ["require_full_coverage=yes", "dynamic_startup_nodes=yes"])
async def test_a_cluster_may_be_named_with_options(cluster: RedisCluster, option: str) -> None:
    url = f"{cluster.url}?{option}"
    async with asyncio.timeout(20), opened(url, now=now) as one, opened(url, now=now) as other:
        told = await told_by(one, other, "t")
        kept = await kept_by(one, other, "k")

    assert (told, kept) == ({b"again"}, b"again")


async def test_a_cluster_with_tls_is_spoken_to_by_tls_alone() -> None:
    client, node = _connected("redis+cluster://127.0.0.1:1?ssl=true", {})
    async with node() as one:
        kind = one.connection_pool.connection_class
    await client.aclose()

    assert kind is SSLConnection


async def test_a_whole_cluster_may_be_away_when_the_service_starts(cluster: RedisCluster) -> None:
    for master in cluster.masters:
        master.stop()

    async with asyncio.timeout(60), opened(cluster.url, now=now) as store:
        heard = await while_away(store)
        for master in cluster.masters:
            master.start()
        await asyncio.to_thread(cluster.wait)
        kept = [await kept_by(store, store, key) for key in KEYS]

    assert heard == [Entry(1, b"one")]
    assert kept == [b"again"] * len(KEYS)


async def test_a_process_hears_of_nothing_that_nobody_in_it_asked_for(server: Redis) -> None:
    async with (
        asyncio.timeout(20),
        opened(server.url, now=now) as store,
        Client.from_url(server.url, decode_responses=True) as client,
    ):
        async with store.subscribe("one"), store.subscribe("two"), store.subscribe("two"):
            await agreed(client, "one", "two")
        async with store.subscribe("three"):
            await agreed(client, "three")


async def test_who_is_subscribed_hears_again_after_redis_was_away(server: Redis) -> None:
    async with (
        opened(server.url, now=now) as one,
        opened(server.url, now=now) as other,
        other.subscribe("u") as there,
        asyncio.timeout(20),
    ):
        server.stop()
        await while_away(one)
        server.start()
        heard = await heard_from(one, "u", there)

    assert {entry.body for entry in heard} == {b"again"}
