"""Batches beside those who wait for an answer: who gets slots, and what becomes of an item that
gives its own up."""

import asyncio

from google.protobuf import struct_pb2
from runplane.inference.v1 import batches_pb2 as pb

from tests.integration.inference.batches import Client, message, serving

LONG = "tokens:200"


async def test_a_batch_leaves_a_slot_to_whoever_comes_next() -> None:
    async with serving(slots=3, delay=0.005) as client, asyncio.timeout(20):
        batch = await client.started(*[LONG] * 4)
        await client.busy()
        said = await client.say("at once")
        stands = await client.batches.GetBatch(pb.GetBatchRequest(batch_id=batch.batch_id))

    assert said.metrics.queue_ms == 0.0
    assert stands.status == "running"


async def test_an_item_gives_its_slot_up_and_goes_on_where_it_was() -> None:
    async with serving(slots=1, delay=0.005) as client, asyncio.timeout(20):
        batch = await client.started(LONG)
        await client.busy()
        said = await client.say("only this")
        page = await client.metrics()
        ended = await client.ended(batch.batch_id)
        (item,) = await client.items(batch.batch_id)

    assert said.text == "only this"
    assert "runplane_inference_batches_running 1.0" in page
    assert "runplane_inference_batch_items_interrupted_total 1.0" in page
    assert said.metrics.queue_ms < 500  # Of the second that the item takes by itself.
    assert item.text == " ".join(f"tok{number}" for number in range(1, 201))
    assert (item.status, item.attempts, item.usage.completion_tokens) == ("completed", 1, 200)
    assert (item.usage.prompt_tokens, ended.usage.completion_tokens) == (2, 200)


async def test_items_give_up_as_many_slots_as_are_waited_for() -> None:
    async with serving(slots=4, queue=8, delay=0.005) as client, asyncio.timeout(20):
        batch = await client.started(*[LONG] * 6)
        await client.busy()
        said = await asyncio.gather(*(client.say(LONG) for _ in range(4)))
        ended = await client.ended(batch.batch_id)

    assert max(each.metrics.queue_ms for each in said) < 500
    assert (ended.status, ended.counts.completed) == ("completed", 6)
    assert ended.usage.completion_tokens == 1200


async def test_an_item_that_cannot_go_on_is_not_interrupted_for_ever() -> None:
    schema = struct_pb2.Struct()
    schema.update({"type": "array", "minItems": 100, "items": {"const": 1}})
    item = pb.BatchItemRequest(messages=[message("x")], response_schema=schema)
    is_over = asyncio.Event()

    async def interrupting(client: Client) -> None:
        while not is_over.is_set():
            await client.say("sleep:50\nI wait")

    async with serving(slots=1, delay=0.01) as client, asyncio.timeout(30):
        batch = await client.batches.GenerateBatch(pb.GenerateBatchRequest(items=[item]))
        await client.busy()
        async with asyncio.TaskGroup() as group:
            group.create_task(interrupting(client))
            ended = await client.ended(batch.batch_id)
            is_over.set()

    assert (ended.status, ended.counts.completed) == ("completed", 1)


async def test_a_batch_fills_no_queue_and_no_interactive_request_is_refused() -> None:
    async with serving(slots=2, queue=2, delay=0.001) as client, asyncio.timeout(30):
        batch = await client.started(*["tokens:20"] * 200)
        await client.until(batch.batch_id, "batch_started")
        for _ in range(20):
            await asyncio.gather(*(client.say("me") for _ in range(4)))  # Two run, two wait.
        ended = await client.ended(batch.batch_id)

    assert (ended.counts.completed, ended.counts.failed) == (200, 0)


async def test_others_are_answered_while_a_large_batch_is_read_and_stored() -> None:
    answered = 0
    async with serving(slots=8) as client, asyncio.timeout(60):
        starting = asyncio.create_task(client.started(*["word " * 500] * 1_000))
        while not starting.done():
            await client.say("me")
            answered += not starting.done()
        ended = await client.ended((await starting).batch_id)

    assert ended.counts.completed == 1_000
    assert answered > 1
