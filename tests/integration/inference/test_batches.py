"""Batches on the real service: what becomes of items, and what can be read of it meanwhile."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from google.protobuf import struct_pb2
from runplane.inference.v1 import batches_pb2 as pb
from runplane.type.v1 import usage_pb2

from services.chassis.status import from_rpc_error
from tests.integration.inference.batches import Client, items, message, serving


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """A client of a service with four slots."""
    async with serving() as found:
        yield found


async def test_every_item_of_a_batch_gets_its_answer_under_its_key(client: Client) -> None:
    sent = [
        pb.BatchItemRequest(key=key, messages=[message(text)])
        for key, text in (("a", "one two three"), ("b", "four"))
    ]

    async with asyncio.timeout(5):
        batch = await client.batches.GenerateBatch(pb.GenerateBatchRequest(items=sent))
        ended = await client.ended(batch.batch_id)
        found = await client.items(batch.batch_id)

    assert (batch.status, batch.counts.total, batch.counts.pending) == ("pending", 2, 2)
    assert (ended.status, ended.counts.completed, ended.progress) == ("completed", 2, 1.0)
    assert [(each.key, each.index, each.status, each.text) for each in found] == [
        ("a", 0, "completed", "one two three"),
        ("b", 1, "completed", "four"),
    ]
    assert ended.usage.completion_tokens == 4
    assert ended.usage.total_tokens == sum(each.usage.total_tokens for each in found)
    assert ended.cost_usd == pytest.approx((ended.usage.prompt_tokens + 40) / 1e6)
    assert {each.metadata.model for each in found} == {"echo"}
    assert {(each.finish_reason, each.attempts) for each in found} == {("stop", 1)}


async def test_items_share_what_the_batch_says_for_all(client: Client) -> None:
    schema = struct_pb2.Struct()
    schema.update({"type": "object", "properties": {"answer": {"type": "string"}}})
    request = pb.GenerateBatchRequest(
        items=[
            pb.BatchItemRequest(),
            pb.BatchItemRequest(messages=[message("mine it is")]),
            pb.BatchItemRequest(sampling=usage_pb2.Sampling(max_tokens=1)),
            pb.BatchItemRequest(response_schema=schema),
        ],
        messages=[message("be brief", "system"), message("shared words for all")],
        sampling=usage_pb2.Sampling(max_tokens=2),
    )

    async with asyncio.timeout(5):
        batch = await client.batches.GenerateBatch(request)
        await client.ended(batch.batch_id)
        found = await client.items(batch.batch_id)

    assert [each.text for each in found][:3] == ["shared words ", "mine it ", "shared "]
    assert {each.finish_reason for each in found[:3]} == {"length"}
    assert found[3].text == "{}"


async def test_an_item_that_cannot_be_answered_fails_alone(client: Client) -> None:
    async with asyncio.timeout(5):
        batch = await client.started("fine", "word " * 40_000, "fine too")
        ended = await client.ended(batch.batch_id)
        (bad,) = await client.items(batch.batch_id, "status = failed")

    assert (ended.status, ended.counts.completed, ended.counts.failed) == ("completed", 2, 1)
    assert (bad.key, bad.attempts, bad.error.code) == ("1", 1, "INVALID_ARGUMENT")
    assert bad.error.reason == "CONTEXT_WINDOW_EXCEEDED"
    assert bad.error.suggested_fix


async def test_an_item_is_tried_three_times_while_the_engine_fails(client: Client) -> None:
    async with asyncio.timeout(10):
        batch = await client.started("fail")
        await client.ended(batch.batch_id)
        (bad,) = await client.items(batch.batch_id, 'reason = "ENGINE_FAILED"')

    assert (bad.status, bad.attempts, bad.error.code) == ("failed", 3, "UNAVAILABLE")


async def test_events_are_numbered_and_a_watch_goes_on_where_it_was_left(client: Client) -> None:
    async with asyncio.timeout(5):
        batch = await client.started("one", "sleep:30\ntwo")
        whole = await client.events(batch.batch_id)
        rest = await client.events(batch.batch_id, after=2)
        nothing = await client.events(batch.batch_id, after=len(whole))

    assert [event.sequence for event in whole] == [1, 2, 3, 4, 5]
    assert [event.type for event in whole] == [
        "batch_created",
        "batch_started",
        "item_completed",
        "item_completed",
        "batch_ended",
    ]
    assert [event.item.text for event in whole[2:4]] == ["one", "two"]
    assert [event.counts.completed for event in whole] == [0, 0, 1, 2, 2]
    assert not whole[0].HasField("request")
    assert whole[-1].batch.status == "completed"
    assert list(rest) == list(whole[2:])
    assert not nothing


async def test_results_can_be_read_while_others_still_run(client: Client) -> None:
    async with asyncio.timeout(5):
        batch = await client.started("quick", "sleep:60000\nslow")
        await client.until(batch.batch_id, "item_completed")
        stands = await client.batches.GetBatch(pb.GetBatchRequest(batch_id=batch.batch_id))
        (done,) = await client.items(batch.batch_id, "status = completed")
        (left,) = await client.items(batch.batch_id, "status = pending")

    assert (stands.status, stands.progress, stands.counts.pending) == ("running", 0.5, 1)
    assert (done.text, left.key, left.text) == ("quick", "1", "")


async def test_a_cancel_stops_what_runs_and_keeps_what_it_had_said() -> None:
    async with serving(slots=2, delay=0.01) as client, asyncio.timeout(10):
        batch = await client.started("tokens:100000", "never")
        await client.busy()
        await asyncio.sleep(0.1)  # Some of it is to be said; how much does not matter.
        request = pb.CancelBatchRequest(batch_id=batch.batch_id, reason="enough")
        canceled = await client.batches.CancelBatch(request)
        again = await client.batches.CancelBatch(request)
        first, second = await client.items(batch.batch_id)
        said = await client.say("free again")

    assert (canceled.status, canceled.reason, canceled.counts.canceled) == (
        "canceled",
        "enough",
        2,
    )
    assert again == canceled
    assert first.text.startswith("tok1 tok2")
    assert (first.status, first.finish_reason, second.status) == ("canceled", "", "canceled")
    assert first.usage.completion_tokens == len(first.text.split())
    assert canceled.usage.completion_tokens == first.usage.completion_tokens
    assert (second.text, second.attempts) == ("", 0)
    assert said.text == "free again"


async def test_what_has_not_ended_at_the_deadline_is_expired(client: Client) -> None:
    async with asyncio.timeout(5):
        batch = await client.started("quick", "sleep:60000\nslow", timeout_ms=1_000.0)
        ended = await client.ended(batch.batch_id)

    assert (ended.status, ended.state) == ("expired", pb.BATCH_STATE_EXPIRED)
    assert (ended.counts.completed, ended.counts.expired) == (1, 1)


async def test_a_batch_can_be_deleted_once_it_has_ended(client: Client) -> None:
    async with asyncio.timeout(5):
        batch = await client.started("sleep:60000\nslow")
        request = pb.DeleteBatchRequest(batch_id=batch.batch_id)
        with pytest.raises(grpc.aio.AioRpcError) as early:
            await client.batches.DeleteBatch(request)
        await client.batches.CancelBatch(pb.CancelBatchRequest(batch_id=batch.batch_id))
        await client.batches.DeleteBatch(request)
        listed = await client.batches.ListBatches(pb.ListBatchesRequest())

    assert from_rpc_error(early.value).reason == "BATCH_NOT_ENDED"
    assert not listed.batches
    for asked in (
        client.batches.GetBatch(pb.GetBatchRequest(batch_id=batch.batch_id)),
        client.batches.DeleteBatch(request),
        client.items(batch.batch_id),
        client.events(batch.batch_id),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as gone:
            await asked
        assert from_rpc_error(gone.value).reason == "BATCH_NOT_FOUND"


async def test_a_batch_that_has_ended_cannot_be_canceled(client: Client) -> None:
    async with asyncio.timeout(5):
        batch = await client.started("one")
        await client.ended(batch.batch_id)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.batches.CancelBatch(pb.CancelBatchRequest(batch_id=batch.batch_id))

    error = from_rpc_error(refused.value)
    assert (error.reason, error.metadata["status"]) == ("BATCH_ALREADY_ENDED", "completed")
    assert error.metadata["suggested_fix"]


async def test_the_same_key_starts_one_batch(client: Client) -> None:
    async with asyncio.timeout(5):
        first = await client.started("one", idempotency_key="k")
        again = await client.started("one", idempotency_key="k")
        with pytest.raises(grpc.aio.AioRpcError) as other:
            await client.started("two", idempotency_key="k")

    assert again.batch_id == first.batch_id
    assert from_rpc_error(other.value).reason == "IDEMPOTENCY_KEY_REUSED"


async def test_lists_page_and_filter(client: Client) -> None:
    async with asyncio.timeout(10):
        batches = [await client.started(*map(str, range(5)), labels={"of": name}) for name in "ab"]
        for each in batches:
            await client.ended(each.batch_id)
        chosen = await client.batches.ListBatches(
            pb.ListBatchesRequest(filter="labels.of = a AND status = BATCH_STATE_COMPLETED")
        )
        request = pb.ListBatchItemsRequest(batch_id=batches[0].batch_id, page_size=3)
        first = await client.batches.ListBatchItems(request)
        request.page_token = first.next_page_token
        last = await client.batches.ListBatchItems(request)

    assert [each.batch_id for each in chosen.batches] == [batches[0].batch_id]
    assert [each.index for each in (*first.items, *last.items)] == [0, 1, 2, 3, 4]
    assert not last.next_page_token


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.GenerateBatchRequest(), "items"),
        (pb.GenerateBatchRequest(items=items("x") * 1_001), "items"),
        (
            pb.GenerateBatchRequest(
                items=[pb.BatchItemRequest(key="a", messages=[message("x")])] * 2
            ),
            "items[1].key",
        ),
        (pb.GenerateBatchRequest(items=items("x"), timeout_ms=10.0), "timeout_ms"),
        (pb.GenerateBatchRequest(items=items("x"), labels={"a": "b" * 300}), "labels"),
        (pb.GenerateBatchRequest(items=[*items("x"), pb.BatchItemRequest()]), "items[1].messages"),
        (
            pb.GenerateBatchRequest(
                items=[*items("x"), pb.BatchItemRequest(messages=[message("x", "boss")])],
                messages=[message("all")],
            ),
            "items[1].messages[0].role",
        ),
        (
            pb.GenerateBatchRequest(items=items("x"), messages=[message("all", "boss")]),
            "messages[0].role",
        ),
        (
            pb.GenerateBatchRequest(
                items=[
                    *items("x"),
                    pb.BatchItemRequest(
                        messages=[message("x")], sampling=usage_pb2.Sampling(temperature=3)
                    ),
                ]
            ),
            "items[1].sampling.temperature",
        ),
        (pb.GenerateBatchRequest(items=items("x"), idempotency_key="k" * 300), "idempotency_key"),
    ],
)
async def test_what_could_not_run_is_refused_with_its_place(
    client: Client, request_: pb.GenerateBatchRequest, field: str
) -> None:
    async with asyncio.timeout(5):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.batches.GenerateBatch(request_)
        listed = await client.batches.ListBatches(pb.ListBatchesRequest())

    error = from_rpc_error(refused.value)
    assert (error.code, error.metadata["field"]) == ("INVALID_ARGUMENT", field)
    assert not listed.batches


async def test_a_model_that_there_is_not_is_named_with_its_item(client: Client) -> None:
    async with asyncio.timeout(5):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.batches.GenerateBatch(
                pb.GenerateBatchRequest(
                    items=[pb.BatchItemRequest(model="none", messages=[message("x")])]
                )
            )

    error = from_rpc_error(refused.value)
    assert (error.reason, error.metadata["field"]) == ("MODEL_NOT_FOUND", "items[0].model")


async def test_a_batch_is_its_tenants_alone(client: Client) -> None:
    metadata = (("runplane-tenant", "other"),)
    async with asyncio.timeout(5):
        batch = await client.started("one")
        listed = await client.batches.ListBatches(pb.ListBatchesRequest(), metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.batches.CancelBatch(
                pb.CancelBatchRequest(batch_id=batch.batch_id), metadata=metadata
            )

    assert not listed.batches
    assert from_rpc_error(refused.value).reason == "BATCH_NOT_FOUND"


async def test_a_tenant_has_so_many_batches_that_have_not_ended() -> None:
    async with serving(batch={"max_open": 1}) as client, asyncio.timeout(5):
        first = await client.started("sleep:60000\nslow")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.started("x")
        await client.batches.CancelBatch(pb.CancelBatchRequest(batch_id=first.batch_id))
        second = await client.started("x")

    error = from_rpc_error(refused.value)
    assert (error.reason, error.metadata["limit"]) == ("TOO_MANY_BATCHES", "1")
    assert error.retry_after is not None
    assert second.batch_id
