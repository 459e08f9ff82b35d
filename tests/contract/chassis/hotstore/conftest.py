"""The adapters under test. One more is one more parameter and a fixture of that name."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import datetime, timedelta
from typing import Protocol
from uuid import uuid4

import pytest

from services.chassis.hotstore.memory import MemoryHotStore
from services.chassis.hotstore.port import Entry, HotStore, Subscription
from services.chassis.hotstore.redis import RedisHotStore, opened
from tests.servers.redis import Redis, RedisCluster
from tests.servers.redis import redis as redis_server
from tests.servers.redis import redis_cluster as redis_cluster_servers


class Clock(Protocol):
    """What these tests need of the clock."""

    def __call__(self) -> datetime: ...

    def monotonic(self) -> float: ...

    def advance(self, by: timedelta) -> None: ...


class Replicas:
    """One or two processes' stores, as one: what one publishes or keeps, the other hears or reads.

    Its topics are its own: what the test before has published may still be on its way.
    """

    def __init__(
        self, one: RedisHotStore, other: RedisHotStore, server: Redis | RedisCluster
    ) -> None:
        self._one = one
        self._other = other
        self._server = server
        self._name = uuid4().hex
        self._there: dict[str, Subscription] = {}
        self._open = AsyncExitStack()

    async def publish(self, topic: str, entries: Sequence[Entry]) -> None:
        """Through the one, out, and in at the other: what is subscribed later is from then on."""
        async with asyncio.timeout(10):
            there = await self._heard_there(topic)
            await self._one.publish(f"{self._name} {topic}", entries)
            while entries and entries[-1] not in await there.next():
                pass

    async def _heard_there(self, topic: str) -> Subscription:
        """A subscription that the server knows of."""
        if topic not in self._there:
            self._there[topic] = await self._open.enter_async_context(self.subscribe(topic))
            channel = f"runplane:live:{self._name} {topic}"
            while not await asyncio.to_thread(self._server.hearers, channel):
                pass
        return self._there[topic]

    async def close(self) -> None:
        """End what was subscribed to here."""
        await self._open.aclose()

    def subscribe(self, topic: str) -> AbstractAsyncContextManager[Subscription]:
        """At the other."""
        return self._other.subscribe(f"{self._name} {topic}")

    async def get(self, key: str) -> bytes | None:
        """From the other."""
        return await self._other.get(key)

    async def set(self, key: str, value: bytes, *, ttl: timedelta) -> None:
        """Through the one."""
        await self._one.set(key, value, ttl=ttl)

    async def delete(self, key: str) -> None:
        """Through the other."""
        await self._other.delete(key)

    async def add(self, key: str, amount: int, *, ttl: timedelta) -> int:
        """Through both in turn."""
        self._one, self._other = self._other, self._one
        return await self._one.add(key, amount, ttl=ttl)


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    """A Redis for all tests."""
    with redis_server() as running:
        yield running


@pytest.fixture(scope="session")
def cluster() -> Iterator[RedisCluster]:
    """A Redis Cluster for all tests."""
    with redis_cluster_servers() as running:
        yield running


@pytest.fixture(params=["memory", "redis", "replicas", "cluster", "cluster replicas"])
async def store(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[HotStore]:
    """An empty store of each adapter, on a clock that the test moves."""
    if request.param == "memory":
        yield MemoryHotStore(now=clock.monotonic)
        return
    name = "cluster" if request.param.startswith("cluster") else "redis"
    server: Redis | RedisCluster = request.getfixturevalue(name)
    server.clear()
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(opened(server.url, now=clock)) for _ in range(2)]
        one, other = stores
        replicas = Replicas(one, other if request.param.endswith("replicas") else one, server)
        stack.push_async_callback(replicas.close)
        yield replicas
