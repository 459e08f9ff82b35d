"""What a hot store says while Redis is away."""

from datetime import timedelta
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as Refused

from services.chassis.hotstore.redis import QUIET, RedisHotStore
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
