"""A small servicer of a real contract, and a server of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial

import grpc
from google.rpc.status_pb2 import Status
from runplane.inference.v1 import inference_pb2 as inference
from runplane.inference.v1 import inference_pb2_grpc as inference_grpc
from runplane.tool_registry.v1 import tool_registry_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as pb_grpc

from services.chassis.errors import ServiceError
from services.chassis.server import Running, serving
from services.chassis.settings import ServerSettings
from services.chassis.status import from_rpc_error, status_of

DOMAIN = "tools.runplane.dev"
TOOLS = pb.DESCRIPTOR.services_by_name["ToolRegistryService"].full_name
INFERENCE = inference.DESCRIPTOR.services_by_name["InferenceService"].full_name
QUICK = ServerSettings(grace=timedelta(seconds=0))

Answer = Callable[[pb.GetToolRequest], Awaitable[pb.Tool]]


async def named_alike(request: pb.GetToolRequest) -> pb.Tool:
    """The tool with the name that was asked for."""
    return pb.Tool(name=request.name)


class Tools(pb_grpc.ToolRegistryServiceServicer):
    """Answers `GetTool` as it is told to."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def GetTool(
        self, request: pb.GetToolRequest, context: "grpc.aio.ServicerContext[object, object]"
    ) -> pb.Tool:
        """Pass the request on."""
        return await self._answer(request)


class Engine(inference_grpc.InferenceServiceServicer):
    """Streams until it is closed, or fails after one piece."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.closed = asyncio.Event()

    async def StreamGenerate(
        self,
        request: inference.GenerateRequest,
        context: "grpc.aio.ServicerContext[object, object]",
    ) -> AsyncIterator[inference.StreamGenerateResponse]:
        """Pieces without an end."""
        try:
            while True:
                yield inference.StreamGenerateResponse(text="x" * 100_000)
                if self._error is not None:
                    raise self._error
                await asyncio.sleep(0)
        finally:
            self.closed.set()


def serving_tools(
    answer: Answer = named_alike, settings: ServerSettings = QUICK, engine: Engine | None = None
) -> AbstractAsyncContextManager[Running]:
    """A running server of both."""
    return serving(
        settings,
        domain=DOMAIN,
        register=[
            partial(pb_grpc.add_ToolRegistryServiceServicer_to_server, Tools(answer)),
            partial(inference_grpc.add_InferenceServiceServicer_to_server, engine or Engine()),
        ],
        services=[TOOLS, INFERENCE],
    )


def raising(error: Exception) -> Answer:
    """An answer that is this error."""

    async def answer(request: pb.GetToolRequest) -> pb.Tool:
        raise error

    return answer


async def failure(call: Awaitable[object]) -> tuple[grpc.StatusCode, Status, ServiceError]:
    """How a call fails: its code, its Status and what that is here."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code(), status_of(error), from_rpc_error(error)
    raise AssertionError("the call did not fail")
