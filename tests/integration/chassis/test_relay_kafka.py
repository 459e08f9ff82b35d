"""The outbox relay between a real store and a real Kafka, with what goes wrong between them."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from services.chassis.eventbus.open import event_bus
from services.chassis.eventbus.port import EventBus
from services.chassis.eventlog.open import event_store
from tests.integration.chassis.relays import append_all, empty, recording, relay
from tests.servers.kafka import kafka
from tests.servers.postgres import Postgres
from tests.servers.postgres import postgres as postgres_server
from tests.servers.proxy import Proxy, proxy

KEYS, EACH = 50, 40


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A PostgreSQL server for all tests."""
    with postgres_server() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store may be."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}"
    return str(request.getfixturevalue("server").url)


@asynccontextmanager
async def behind_a_proxy() -> AsyncIterator[tuple[Proxy, EventBus, str]]:
    """A Kafka that is reached through a proxy only; a bus for it, and its URL."""
    async with proxy() as between:
        with kafka(advertised=between.port) as broker:
            between.target = broker.port
            async with event_bus(broker.url) as bus:
                yield between, bus, broker.url


async def disturb(between: Proxy, dice: random.Random) -> None:
    """Cut and swallow at random, until cancelled."""
    while True:
        await asyncio.sleep(dice.uniform(0.05, 0.4))
        between.cut()
        if dice.random() < 0.3:
            between.refuse()
            await asyncio.sleep(dice.uniform(0.05, 0.5))
            between.resume()


@pytest.mark.parametrize("relays", [1, 2])
async def test_a_broker_cut_off_at_random_loses_and_reorders_nothing(url: str, relays: int) -> None:
    name, dice = f"test_{uuid4().hex[:12]}", random.Random(relays)
    async with (
        behind_a_proxy() as (between, bus, _),
        event_store(url, service=name) as store,
        recording(bus) as recorder,
        relay(store, bus),
    ):
        disturbing = asyncio.ensure_future(disturb(between, dice))
        if relays == 1:
            await append_all(store, KEYS, EACH)
        else:
            async with relay(store, bus):
                await append_all(store, KEYS, EACH)
        await asyncio.sleep(2)  # Of cuts, not of waiting.
        disturbing.cancel()
        await asyncio.wait([disturbing])
        between.resume()
        await recorder.until(KEYS, EACH)
        await empty(store)

    assert recorder.is_in_order(EACH)
    assert between.connections > 5


async def test_a_broker_that_says_nothing_gets_everything_when_it_speaks(tmp_path: Path) -> None:
    async with (
        behind_a_proxy() as (between, bus, _),
        event_store(f"sqlite:///{tmp_path}", service="s") as store,
        recording(bus) as recorder,
        relay(store, bus),
    ):
        await append_all(store, 10, 1)
        await recorder.until(10, 1)
        between.swallow()
        tasks = [append_all(store, 10, 1, topic="u"), asyncio.sleep(5)]  # Past a request's time.
        await asyncio.gather(*tasks, return_exceptions=True)
        between.resume()
        await empty(store)

    assert recorder.is_in_order(1)


async def test_a_relay_that_is_killed_loses_and_reorders_nothing(server: Postgres) -> None:
    name, dice = f"test_{uuid4().hex[:12]}", random.Random(3)
    program = [sys.executable, "-m", "tests.integration.chassis.relays", server.url, name]
    with kafka() as broker:
        async with (
            event_bus(broker.url) as bus,
            event_store(server.url, service=name) as store,
            recording(bus) as recorder,
        ):
            appending = asyncio.ensure_future(append_all(store, KEYS, EACH))
            for _ in range(4):
                process = await asyncio.create_subprocess_exec(
                    *program, broker.url, stdout=asyncio.subprocess.PIPE
                )
                assert process.stdout is not None
                await process.stdout.readline()
                await asyncio.sleep(dice.uniform(0.0, 0.5))
                process.kill()
                await process.communicate()
            await appending
            async with relay(store, bus):
                await recorder.until(KEYS, EACH)
                await empty(store)

    assert recorder.is_in_order(EACH)
