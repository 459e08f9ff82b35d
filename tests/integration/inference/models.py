"""What tests of the catalogue share: clients of a service, and operations waited for."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from runplane.inference.v1 import inference_pb2, inference_pb2_grpc, models_pb2, models_pb2_grpc

from services.chassis.settings import ServerSettings, SharedSettings
from services.chassis.status import status_of
from services.inference.app import running
from services.inference.settings import Settings

LOOPBACK = ServerSettings(listen="127.0.0.1:0", admin="127.0.0.1:0", grace=1)
SHARED = SharedSettings(page_token_key="ab" * 32)


@dataclass(frozen=True)
class Service:
    """Stubs of one process."""

    models: Any
    inference: Any
    operations: Any
    address: str

    async def done(self, started: operations_pb2.Operation) -> operations_pb2.Operation:
        """An operation's end."""
        request = operations_pb2.WaitOperationRequest(name=started.name)
        return await self.operations.WaitOperation(request, timeout=20)

    async def loaded(self, name: str) -> operations_pb2.Operation:
        """Load a model, and wait for it."""
        started = await self.models.LoadModel(models_pb2.LoadModelRequest(name=name))
        return await self.done(started)

    async def unloaded(self, name: str) -> operations_pb2.Operation:
        """Unload a model, and wait for it."""
        started = await self.models.UnloadModel(models_pb2.UnloadModelRequest(name=name))
        return await self.done(started)

    async def get(self, name: str, **kwargs: Any) -> inference_pb2.Model:
        """A model."""
        request = inference_pb2.GetModelRequest(name=name)
        model: inference_pb2.Model = await self.models.GetModel(request, **kwargs)
        return model

    async def create(self, model: dict[str, Any], **kwargs: Any) -> inference_pb2.Model:
        """Create a model."""
        request = models_pb2.CreateModelRequest(model=model)
        made: inference_pb2.Model = await self.models.CreateModel(request, **kwargs)
        return made

    async def said(self, model: str, text: str = "hello there") -> str:
        """What a model answers."""
        messages = [{"role": "user", "content": text}]
        request = inference_pb2.GenerateRequest(model=model, messages=messages)
        return str((await self.inference.Generate(request, timeout=20)).text)


@asynccontextmanager
async def service(
    settings: Settings | None = None, shared: SharedSettings = SHARED, **kwargs: Any
) -> AsyncIterator[Service]:
    """A service that runs, by default with the echo engine."""
    chosen = settings or Settings(**{"engine": "echo", "server": LOOPBACK, **kwargs})
    async with (
        running(chosen, shared) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield Service(
            models_pb2_grpc.ModelServiceStub(channel),
            inference_pb2_grpc.InferenceServiceStub(channel),
            operations_pb2_grpc.OperationsStub(channel),
            server.address,
        )


def reason(operation: operations_pb2.Operation) -> str:
    """Why an operation failed."""
    info = ErrorInfo()
    operation.error.details[0].Unpack(info)
    return info.reason


async def failure(call: Any) -> tuple[grpc.StatusCode, ErrorInfo, Sequence[Any]]:
    """How a call fails: its code, why, and which fields are at fault."""
    async with asyncio.timeout(20):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
    info, bad = ErrorInfo(), BadRequest()
    for detail in status_of(caught.value).details:
        detail.Unpack(info)
        detail.Unpack(bad)
    return caught.value.code(), info, bad.field_violations
