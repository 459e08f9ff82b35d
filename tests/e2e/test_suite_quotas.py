"""Usage is counted once and quotas hold, over replicas that die."""

import asyncio
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import usage_pb2, usage_pb2_grpc

from services.chassis.client import channel
from services.chassis.settings import ClientSettings
from tests.e2e.replicas import PASSING, SOON, Cluster, client, cluster, watched
from tests.e2e.test_suite_kills import accepted, kill
from tests.servers.postgres import Postgres, postgres

QUOTA = 20_000
WORDS = "tokens:150"
SHORT = {"max_tokens": 200}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A PostgreSQL for this module."""
    with postgres() as running:
        yield running


async def tokens_used(running: Cluster) -> float:
    """As the replicas say."""
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    request = usage_pb2.GetUsageRequest(start_date=yesterday)
    async with channel(ClientSettings(target=running.target)) as opened:
        stub: usage_pb2_grpc.UsageServiceAsyncStub = usage_pb2_grpc.UsageServiceStub(opened)
        return (await stub.GetUsage(request, timeout=10)).total.tokens


async def test_what_tasks_took_is_counted_once_whoever_died(
    tmp_path: Path, server: Postgres
) -> None:
    seed = random.Random(11)
    with cluster(tmp_path, server.url, replicas=2, **SOON) as running:
        async with client(running) as stub, asyncio.timeout(100):
            harming = asyncio.ensure_future(kill(running, seed, 4))
            task_ids = await accepted(stub, seed)
            logs = await asyncio.gather(*(watched(stub, task_id) for task_id in task_ids))
            await harming
        used = await tokens_used(running)

    assert used == sum(events[-1].metrics.tokens_used for events in logs) > 0


async def test_two_replicas_use_no_more_together_than_a_quota_allows(tmp_path: Path) -> None:
    declared = f'[{{"quota_id": "both", "period": "total", "tokens": {QUOTA}}}]'
    with (
        postgres() as server,
        cluster(tmp_path, server.url, replicas=2, ORCHESTRATOR_QUOTAS=declared) as running,
    ):
        async with client(running) as stub, asyncio.timeout(60):
            asked = [
                stub.Invoke(pb.InvokeRequest(query=WORDS, sampling=SHORT), timeout=30)
                for _ in range(150)
            ]
            answers = await asyncio.gather(*asked, return_exceptions=True)
        used = await tokens_used(running)

    refused = [each for each in answers if isinstance(each, grpc.aio.AioRpcError)]
    assert 0 < len(refused) < len(answers)
    assert {each.code() for each in refused} <= PASSING
    assert QUOTA - 500 < used <= QUOTA
