"""A service that batches are tested with, and what tests say to it."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import httpx2
from runplane.inference.v1 import batches_pb2 as pb
from runplane.inference.v1 import batches_pb2_grpc as batches_grpc
from runplane.inference.v1 import inference_pb2 as inference
from runplane.inference.v1 import inference_pb2_grpc as inference_grpc
from runplane.type.v1 import content_pb2

from services.chassis.settings import ServerSettings, SharedSettings
from services.inference.app import running
from services.inference.settings import BatchSettings, EchoSettings, Settings

LOOPBACK = ServerSettings(listen="127.0.0.1:0", admin="127.0.0.1:0", grace=0.2)
QUICK = {"look": 0.05, "lease": 1.0, "pace": 0.02}


@dataclass(frozen=True)
class Client:
    """What a service that runs is asked by."""

    batches: "batches_grpc.BatchServiceAsyncStub"
    inference: "inference_grpc.InferenceServiceAsyncStub"
    admin: str

    async def metrics(self) -> str:
        """What the admin port says."""
        async with httpx2.AsyncClient() as http:
            return (await http.get(f"http://{self.admin}/metrics")).text

    async def busy(self) -> None:
        """Wait until something has a slot."""
        while re.search(r"^vllm:num_requests_running{.*} 0.0$", await self.metrics(), re.MULTILINE):
            pass

    async def started(self, *texts: str, **fields: Any) -> pb.Batch:
        """A batch of items that say these, whose keys are their places."""
        return await self.batches.GenerateBatch(
            pb.GenerateBatchRequest(items=items(*texts), **fields)
        )

    async def ended(self, batch_id: str) -> pb.Batch:
        """A batch once it has ended."""
        async for _ in self.batches.WatchBatch(pb.WatchBatchRequest(batch_id=batch_id)):
            pass
        return await self.batches.GetBatch(pb.GetBatchRequest(batch_id=batch_id))

    async def events(self, batch_id: str, after: int = 0) -> Sequence[pb.BatchEvent]:
        """What happens to a batch until it ends."""
        request = pb.WatchBatchRequest(batch_id=batch_id, after_sequence=after)
        return [event async for event in self.batches.WatchBatch(request)]

    async def until(self, batch_id: str, kind: str) -> pb.BatchEvent:
        """The first event of this kind."""
        request = pb.WatchBatchRequest(batch_id=batch_id)
        async for event in (call := self.batches.WatchBatch(request)):
            if event.type == kind:
                call.cancel()
                return event
        raise AssertionError(f"no {kind}")

    async def items(self, batch_id: str, chosen: str = "") -> Sequence[pb.BatchItem]:
        """Items of a batch."""
        request = pb.ListBatchItemsRequest(batch_id=batch_id, page_size=1000, filter=chosen)
        return (await self.batches.ListBatchItems(request)).items

    async def say(self, text: str) -> inference.GenerateResponse:
        """Somebody who waits for an answer asks."""
        request = inference.GenerateRequest(messages=[message(text)])
        return await self.inference.Generate(request)


@asynccontextmanager
async def serving(
    store: str = "memory:", *, batch: dict[str, Any] | None = None, **echo: Any
) -> AsyncIterator[Client]:
    """A service with the echo engine."""
    settings = Settings(
        engine="echo",
        server=LOOPBACK,
        echo=EchoSettings(**{"slots": 4, "queue": 4, **echo}),
        batch=BatchSettings(**{**QUICK, **(batch or {})}),
        price={"input_usd": 1.0, "output_usd": 10.0},
    )
    async with client_of(settings, store) as client:
        yield client


@asynccontextmanager
async def client_of(settings: Settings, store: str = "memory:") -> AsyncIterator[Client]:
    """A client of a service with these settings."""
    shared = SharedSettings(page_token_key="ab" * 32, event_store=store)
    async with (
        running(settings, shared) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield Client(
            batches_grpc.BatchServiceStub(channel),
            inference_grpc.InferenceServiceStub(channel),
            server.admin,
        )


def message(text: str, role: str = "user") -> content_pb2.Message:
    """A message."""
    return content_pb2.Message(role=role, content=text)


def items(*texts: str) -> Sequence[pb.BatchItemRequest]:
    """Items that say these."""
    return [pb.BatchItemRequest(messages=[message(text)]) for text in texts]
