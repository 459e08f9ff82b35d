"""Processes that share a PostgreSQL hear of each other's letters, also after it was away."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from services.chassis.errors import Unavailable
from services.chassis.eventlog.open import event_store
from services.chassis.eventlog.port import Append, EventStore, NewEvent, Work
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
