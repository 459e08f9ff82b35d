"""What a hot store says while Redis is away."""

import asyncio
from contextlib import nullcontext
from datetime import timedelta
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as Refused

from services.chassis.hotstore import redis_posts
from services.chassis.hotstore.port import Entry
from services.chassis.hotstore.redis import QUIET, RedisHotStore
from services.chassis.hotstore.redis_posts import BATCH, Posts
from tests.conftest import FakeClock


class Gone:
    """A client of a Redis that refuses connections."""

    async def get(self, key: str) -> bytes:
        """Fails."""
        raise Refused(key)


async def test_a_store_that_is_away_is_said_to_be_so_once_in_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    store = RedisHotStore(cast(Any, Gone()), cast(Any, None), clock)

    for _ in range(100):
        assert await store.get("key") is None
    said_at_once = len(caplog.records)
    clock.advance(QUIET + timedelta(milliseconds=1))
    await store.get("key")

    assert (said_at_once, len(caplog.records)) == (1, 2)


class Away:
    """A client of a Redis that takes nothing until it is back."""

    def __init__(self) -> None:
        self.is_back = False
        self.taken: list[bytes] = []
        self.has_taken = asyncio.Event()
        self._batch: list[bytes] = []

    def pipeline(self, *, transaction: bool) -> "Away":
        """Itself."""
        assert not transaction
        self._batch = []
        return self

    def publish(self, channel: bytes, _: bytes) -> None:
        """Adds one to the batch."""
        self._batch.append(channel)

    async def execute(self) -> None:
        """Takes the batch, or fails."""
        if not self.is_back:
            raise Refused
        self.taken += self._batch
        self.has_taken.set()


async def test_what_waits_while_it_is_away_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_posts, "PAUSE", 0)
    client = Away()

    def come_back(_: Exception) -> None:
        client.is_back = True
        posts.publish("new", [Entry(1, b"body")])

    posts = Posts(lambda: nullcontext(cast(Any, client)), cast(Any, None), come_back)
    for number in range(2 * BATCH):
        posts.publish("old", [Entry(number, b"body")])
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(posts.send_all())
        await client.has_taken.wait()
        posts.end()

    assert client.taken == [b"runplane:live:new"]
