"""Batches whose worker ends: another goes on, and no item that has ended is run again."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from runplane.inference.v1 import batches_pb2 as pb

from services.chassis.eventlog.open import event_store
from services.chassis.eventlog.times import utc_now
from tests.integration.inference.batches import Client, serving
from tests.servers.postgres import Postgres, postgres

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A PostgreSQL for this module."""
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """Where events are kept, by URL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}"
        return
    server: Postgres = request.getfixturevalue("server")
    yield server.url


async def check(client: Client, batch_id: str, count: int) -> pb.Batch:
    """What holds of every batch that went from hand to hand."""
    events = await client.events(batch_id)
    ended = Counter(event.item.index for event in events if event.type == "item_completed")
    kinds = Counter(event.type for event in events)
    batch = await client.batches.GetBatch(pb.GetBatchRequest(batch_id=batch_id))
    items = await client.items(batch_id)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert ended == Counter(range(count))
    assert (kinds["batch_started"], kinds["batch_ended"]) == (1, 1)
    assert batch.usage.completion_tokens == sum(each.usage.completion_tokens for each in items)
    return batch


async def test_a_batch_goes_on_in_the_next_process(store: str) -> None:
    async with asyncio.timeout(60):
        async with serving(store, slots=2, delay=0.002) as first:
            batch = await first.started(*["tokens:50"] * 20)
            await first.until(batch.batch_id, "item_completed")
        async with serving(store, slots=2) as second:
            ended = await second.ended(batch.batch_id)
            whole = await check(second, batch.batch_id, 20)

    assert (ended.status, ended.counts.completed) == ("completed", 20)
    assert whole == ended


async def test_a_batch_whose_claim_is_lost_is_another_workers(server: Postgres) -> None:
    async with (
        asyncio.timeout(60),
        serving(server.url, slots=2, delay=0.002) as first,
        event_store(server.url, service="inference", now=lambda: utc_now() + HOUR) as thief,
    ):
        batch = await first.started(*["tokens:50"] * 20)
        await first.until(batch.batch_id, "item_completed")
        (claim,) = await thief.claim("batch", "thief", limit=1, lease=HOUR)
        await thief.release([claim])
        ended = await first.ended(batch.batch_id)
        await check(first, batch.batch_id, 20)

    assert (ended.status, ended.counts.completed) == ("completed", 20)


async def test_two_replicas_run_several_batches_and_none_twice(server: Postgres) -> None:
    async with (
        asyncio.timeout(60),
        serving(server.url, slots=2, delay=0.001, batch={"max_running": 2}) as first,
        serving(server.url, slots=2, delay=0.001, batch={"max_running": 2}) as second,
    ):
        started = [await first.started(*["tokens:20"] * 10) for _ in range(6)]
        for each in started:
            await second.ended(each.batch_id)
            await check(first, each.batch_id, 10)


async def test_a_cancel_reaches_the_replica_that_has_the_batch(server: Postgres) -> None:
    async with (
        asyncio.timeout(60),
        serving(server.url, batch={"max_running": 1}) as first,
        serving(server.url, batch={"max_running": 1}) as second,
    ):
        started = [await first.started("sleep:60000\nslow") for _ in range(2)]
        for each in started:
            await first.until(each.batch_id, "batch_started")
        canceled = [
            await client.batches.CancelBatch(pb.CancelBatchRequest(batch_id=each.batch_id))
            for each in started
            for client in (first, second)
        ]

    assert [each.status for each in canceled] == ["canceled"] * 4
