"""Processes that share a PostgreSQL hear of each other's letters, also after it was away."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.chassis.errors import Unavailable
from services.chassis.eventlog.open import event_store
from services.chassis.eventlog.port import Append, EventStore, Key, NewEvent, Work
from tests.servers.postgres import Postgres, postgres

OWNED = Append(
    "acme",
    "s_1",
    0,
    [NewEvent("thing.happened.v1", datetime(2026, 1, 2, tzinfo=UTC), b"a")],
    work=Work("task", "one", timedelta(minutes=5)),
)


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A PostgreSQL of this test's own."""
    with postgres() as running:
        yield running


async def rings(here: EventStore, there: EventStore) -> None:
    """Send letters there until it rings here."""
    ringing = asyncio.ensure_future(here.rung("one"))
    while not ringing.done():
        with suppress(Unavailable):
            await there.send("acme", "s_1", "cancel", b"")
        await asyncio.wait((ringing,), timeout=0.1)
    await ringing


async def quiet(store: EventStore) -> None:
    """Hear out what rang before."""
    with suppress(TimeoutError):
        while True:
            await asyncio.wait_for(store.rung("one"), 0.2)


async def test_a_letter_rings_in_another_process(server: Postgres) -> None:
    async with (
        asyncio.timeout(20),
        event_store(server.url, service="one") as here,
        event_store(server.url, service="one") as there,
        event_store(server.url, service="two") as other,
    ):
        await here.append(OWNED)
        waiting = asyncio.ensure_future(other.rung("one"))
        await rings(here, there)
        is_heard_elsewhere = waiting.done()
        waiting.cancel()

    assert not is_heard_elsewhere


async def test_it_rings_again_when_the_database_was_away(server: Postgres) -> None:
    async with (
        asyncio.timeout(60),
        event_store(server.url, service="one") as here,
        event_store(server.url, service="one") as there,
    ):
        await here.append(OWNED)
        await rings(here, there)
        await asyncio.to_thread(server.crash)
        await quiet(here)
        await asyncio.to_thread(server.start)
        await rings(here, there)

        assert len(await here.letters("one")) >= 2


async def test_replicas_with_the_same_keys_in_other_orders_do_not_wait_for_each_other_for_ever(
    server: Postgres,
) -> None:
    def starts(replica: str, turns: int) -> list[Append]:
        """The same 40 starts, whose streams have other names in each replica."""
        names = [f"{replica}_{(n * turns) % 41:02}" for n in range(40)]
        keys = [Key("task", f"k{n}", "f", timedelta(days=1)) for n in range(40)]
        return [
            replace(OWNED, stream_id=name, key=key) for name, key in zip(names, keys, strict=True)
        ]

    async with (
        asyncio.timeout(20),
        event_store(server.url, service="one") as here,
        event_store(server.url, service="one") as there,
    ):
        outcomes = await asyncio.gather(
            *map(here.append, starts("a", 1)),
            *map(there.append, starts("b", 40)),
            *(here.renew("one", lease=timedelta(minutes=5)) for _ in range(10)),
            return_exceptions=True,
        )

    reasons = Counter(getattr(each, "reason", "") for each in outcomes)
    assert reasons == {"": 50, "IDEMPOTENCY_KEY_TAKEN": 40}


async def test_appends_and_renewals_of_the_same_streams_do_not_wait_for_each_other_for_ever(
    server: Postgres,
) -> None:
    streams = [f"s_{n:02}" for n in range(64)]
    async with (
        asyncio.timeout(30),
        event_store(server.url, service="one") as here,
        event_store(server.url, service="one") as there,
    ):
        # The last ones are first in the table, which is how renewals would find them.
        for name in reversed(streams):
            await here.append(replace(OWNED, stream_id=name, events=()))
        shared = replace(OWNED.work or Work("task"), is_shared=True)
        for _ in range(10):
            await asyncio.gather(
                *(
                    here.append(replace(OWNED, stream_id=name, events=(), work=shared))
                    for name in streams
                ),
                *(there.renew("one", lease=timedelta(minutes=5)) for _ in range(4)),
            )
