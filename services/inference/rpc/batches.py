"""`runplane.inference.v1.BatchService`: unpack, call, pack."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import TypeAlias

import grpc
from google.protobuf.empty_pb2 import Empty
from runplane.inference.v1 import batches_pb2 as pb
from runplane.inference.v1 import batches_pb2_grpc as pb_grpc

from services.chassis import filtering
from services.chassis.context import current
from services.chassis.fingerprint import fingerprint
from services.chassis.paging import Pager
from services.inference.mapping import batches as mapping
from services.inference.mapping.inference import Schemas
from services.inference.usecases.batches import Batches, Caller, Start

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class BatchServicer(pb_grpc.BatchServiceServicer):
    """`Batches` over gRPC."""

    def __init__(self, batches: Batches, schemas: Schemas, pagers: tuple[Pager, Pager]) -> None:
        """`pagers` are for batches and for items."""
        self._batches = batches
        self._schemas = schemas
        self._pager, self._item_pager = pagers
        self._reading = asyncio.Semaphore(1)  # Large ones, one after the other.

    async def GenerateBatch(self, request: pb.GenerateBatchRequest, context: Context) -> pb.Batch:
        """See the contract."""
        async with self._reading:
            start = await self._start(request)
            shown = await self._batches.start(start, _caller())
        return pb.Batch.FromString(shown)

    async def GetBatch(self, request: pb.GetBatchRequest, context: Context) -> pb.Batch:
        """See the contract."""
        return pb.Batch.FromString(await self._batches.get(_caller(), request.batch_id))

    async def ListBatches(
        self, request: pb.ListBatchesRequest, context: Context
    ) -> pb.ListBatchesResponse:
        """See the contract."""
        size = self._pager.size(request.page_size)
        after = self._pager.after(request.page_token, filter=request.filter)
        where = filtering.condition(request.filter, mapping.FILTERED)
        read = partial(self._batches.page, _caller(), where)
        shown, token = await self._pager.page(read, after, size, filter=request.filter)
        return pb.ListBatchesResponse(
            batches=map(pb.Batch.FromString, shown), next_page_token=token
        )

    async def ListBatchItems(
        self, request: pb.ListBatchItemsRequest, context: Context
    ) -> pb.ListBatchItemsResponse:
        """See the contract."""
        bound = {"filter": request.filter, "batch_id": request.batch_id}
        size = self._item_pager.size(request.page_size)
        after = self._item_pager.after(request.page_token, **bound)
        where = filtering.condition(request.filter, mapping.FILTERED_ITEMS)
        read = partial(self._batches.items, _caller(), request.batch_id, where)
        shown, token = await self._item_pager.page(read, after, size, **bound)
        return pb.ListBatchItemsResponse(
            items=map(pb.BatchItem.FromString, shown), next_page_token=token
        )

    async def WatchBatch(
        self, request: pb.WatchBatchRequest, context: Context
    ) -> AsyncIterator[pb.BatchEvent]:
        """See the contract."""
        watching = self._batches.watch(_caller(), request.batch_id, after=request.after_sequence)
        async with aclosing(watching) as bodies:
            async for body in bodies:
                yield pb.BatchEvent.FromString(body)

    async def CancelBatch(self, request: pb.CancelBatchRequest, context: Context) -> pb.Batch:
        """See the contract."""
        shown = await self._batches.cancel(_caller(), request.batch_id, request.reason)
        return pb.Batch.FromString(shown)

    async def DeleteBatch(self, request: pb.DeleteBatchRequest, context: Context) -> Empty:
        """See the contract."""
        await self._batches.delete(_caller(), request.batch_id)
        return Empty()

    async def _start(self, request: pb.GenerateBatchRequest) -> Start:
        key = request.idempotency_key or current.get().idempotency_key
        return Start(
            items=await mapping.items(request, self._schemas),
            body=request.SerializeToString(),
            shared_messages=len(request.messages),
            model=request.model,
            timeout_ms=request.timeout_ms if request.HasField("timeout_ms") else None,
            labels=dict(request.labels),
            idempotency_key=key,
            fingerprint=await asyncio.to_thread(fingerprint, request) if key else "",
        )


def _caller() -> Caller:
    request = current.get()
    return Caller(request.principal.tenant, request.principal.subject, request.trace_id)
