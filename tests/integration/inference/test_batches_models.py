"""Batches on models that come and go."""

import asyncio
from typing import Any

import grpc
from runplane.inference.v1 import batches_pb2 as pb
from runplane.inference.v1 import batches_pb2_grpc as batches_grpc
from runplane.inference.v1 import inference_pb2_grpc as inference_grpc
from runplane.inference.v1 import models_pb2

from services.inference.settings import BatchSettings
from tests.integration.inference.batches import QUICK, Client
from tests.integration.inference.models import Service, service


def asked(running: Service, channel: grpc.aio.Channel) -> Client:
    """What asks the same service for batches."""
    return Client(
        batches_grpc.BatchServiceStub(channel),
        inference_grpc.InferenceServiceStub(channel),
        running.address,
    )


async def test_items_wait_while_their_model_is_not_loaded() -> None:
    chosen: dict[str, Any] = {"batch": BatchSettings(**QUICK)}
    price = {"input_price_usd": 1.0, "output_price_usd": 2.0}
    async with (
        asyncio.timeout(30),
        service(**chosen) as running,
        grpc.aio.insecure_channel(running.address) as channel,
    ):
        client = asked(running, channel)
        await running.create({"name": "mine", "echo": {}, "slots": 2, **price})
        await running.loaded("mine")
        batch = await client.started(*["sleep:100\nsaid"] * 6, model="mine")
        await client.until(batch.batch_id, "item_completed")
        await running.unloaded("mine")
        stands = await client.batches.GetBatch(pb.GetBatchRequest(batch_id=batch.batch_id))
        await running.loaded("mine")
        ended = await client.ended(batch.batch_id)
        items = await client.items(batch.batch_id)

    assert (stands.status, stands.counts.failed) == ("running", 0)
    assert 0 < stands.counts.pending < 6
    assert (ended.status, ended.counts.completed) == ("completed", 6)
    assert {(item.attempts, item.metadata.model) for item in items} == {(1, "mine")}
    used = ended.usage
    assert round(ended.cost_usd * 1e6) == used.prompt_tokens + 2 * used.completion_tokens


async def test_items_of_a_model_that_is_deleted_fail_and_say_so() -> None:
    chosen: dict[str, Any] = {"batch": BatchSettings(**QUICK)}
    async with (
        asyncio.timeout(40),
        service(**chosen) as running,
        grpc.aio.insecure_channel(running.address) as channel,
    ):
        client = asked(running, channel)
        await running.create({"name": "mine", "echo": {}, "slots": 2})
        await running.unloaded("mine")
        batch = await client.started(*["said"] * 3, model="mine")
        await running.models.DeleteModel(models_pb2.DeleteModelRequest(name="mine"))
        ended = await client.ended(batch.batch_id)
        items = await client.items(batch.batch_id)

    assert (ended.status, ended.counts.failed) == ("completed", 3)
    assert {item.error.reason for item in items} == {"MODEL_NOT_FOUND"}
