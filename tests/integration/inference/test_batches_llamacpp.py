"""Batches on a real model, which others want as well."""

import asyncio

from runplane.inference.v1 import batches_pb2 as pb
from runplane.inference.v1.inference_pb2 import GenerateRequest
from runplane.type.v1 import usage_pb2

from services.inference.settings import BatchSettings, LlamacppSettings, Settings
from tests.integration.inference.batches import LOOPBACK, QUICK, client_of, items, message

TOKENS = 60


async def test_items_give_way_to_others_and_go_on_in_the_same_text() -> None:
    settings = Settings(
        engine="llamacpp",
        server=LOOPBACK,
        llamacpp=LlamacppSettings(slots=1),
        batch=BatchSettings(**QUICK),
    )
    sampling = usage_pb2.Sampling(max_tokens=TOKENS, temperature=0)
    request = pb.GenerateBatchRequest(
        items=items("Write a long story about the sea.", "Count from one to one hundred."),
        sampling=sampling,
    )

    async with client_of(settings) as client, asyncio.timeout(120):
        batch = await client.batches.GenerateBatch(request)
        await client.until(batch.batch_id, "batch_started")
        said = [await client.say("Say yes.") for _ in range(2)]
        ended = await client.ended(batch.batch_id)
        found = await client.items(batch.batch_id)
        page = await client.metrics()
        whole = await client.inference.Generate(
            GenerateRequest(
                messages=[message("Write a long story about the sea.")], sampling=sampling
            )
        )

    assert all(each.text for each in said)
    assert (ended.status, ended.counts.completed) == ("completed", 2)
    assert "batch_items_interrupted_total 0.0" not in page
    for item in found:  # Where a text was cut, its tokens may be others.
        assert 0 < item.usage.completion_tokens <= TOKENS + 3
    assert found[0].usage.prompt_tokens == whole.usage.prompt_tokens
