"""The orchestrator over real sockets, with the real tool registry and inference with `echo`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc
import pytest_asyncio
from runplane.inference.v1 import inference_pb2_grpc
from runplane.orchestrator.v1 import agents_pb2_grpc, sessions_pb2_grpc, usage_pb2_grpc
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc

from services.chassis.settings import ClientSettings, ServerSettings, SharedSettings
from services.inference.app import running as inference_running
from services.inference.settings import EchoSettings, PriceSettings
from services.inference.settings import Settings as InferenceSettings
from services.orchestrator.app import running
from services.orchestrator.settings import CacheSettings, QuotaSettings, Settings, TaskSettings
from services.tool_registry.app import running as tool_registry_running
from services.tool_registry.ports import Tool
from services.tool_registry.settings import Settings as ToolRegistrySettings

LOOPBACK = ServerSettings(listen="127.0.0.1:0", admin="127.0.0.1:0", grace=1)
SHARED = SharedSettings(page_token_key="00" * 32)
UNCACHED = CacheSettings(enabled=False)  # What one test asks, another may have asked before.


@dataclass(frozen=True)
class Suite:
    """A running suite as its clients see it."""

    stub: "pb_grpc.OrchestratorServiceAsyncStub"
    agents: "agents_pb2_grpc.AgentServiceAsyncStub"
    inference: "inference_pb2_grpc.InferenceServiceAsyncStub"
    address: str
    admin: str
    sessions: "sessions_pb2_grpc.SessionServiceAsyncStub"
    usage: "usage_pb2_grpc.UsageServiceAsyncStub"

    async def events(self, query: str, **fields: object) -> list[pb.TaskEvent]:
        """All events of a new task."""
        request = pb.InvokeRequest(query=query, **fields)
        return [event async for event in self.stub.StreamInvoke(request, timeout=10)]


@asynccontextmanager
async def started(
    tasks: TaskSettings | None = None,
    inference_target: str | None = None,
    echo: EchoSettings | None = None,
    *,
    shared: SharedSettings = SHARED,
    more: Sequence[Tool] = (),
    price: PriceSettings | None = None,
    registry_target: str | None = None,
    catalogue_ttl: timedelta = timedelta(seconds=5),
    cache: CacheSettings = UNCACHED,
    quotas: Sequence[QuotaSettings] = (),
    routes: Path | None = None,
) -> AsyncIterator[Suite]:
    """A suite of real services in this process; the inference service or the tool registry may be
    another's. It has no response cache, unless it is told to."""
    async with AsyncExitStack() as stack:
        models = InferenceSettings(
            engine="echo",
            server=LOOPBACK,
            echo=echo or EchoSettings(),
            price=price or PriceSettings(),
        )
        inference = await stack.enter_async_context(inference_running(models, SHARED))
        registry = await stack.enter_async_context(
            tool_registry_running(ToolRegistrySettings(server=LOOPBACK), SHARED, more=more)
        )
        settings = Settings(
            server=LOOPBACK,
            mark_key="11" * 32,
            inference=ClientSettings(target=inference_target or inference.address),
            tool_registry=ClientSettings(target=registry_target or registry.address),
            tasks=tasks or TaskSettings(),
            catalogue_ttl=catalogue_ttl,
            cache=cache,
            quotas=tuple(quotas),
            routes=routes,
        )
        orchestrator = await stack.enter_async_context(running(settings, shared))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(orchestrator.address))
        asked = await stack.enter_async_context(grpc.aio.insecure_channel(inference.address))
        yield Suite(
            pb_grpc.OrchestratorServiceStub(channel),
            agents_pb2_grpc.AgentServiceStub(channel),
            inference_pb2_grpc.InferenceServiceStub(asked),
            orchestrator.address,
            orchestrator.admin,
            sessions_pb2_grpc.SessionServiceStub(channel),
            usage_pb2_grpc.UsageServiceStub(channel),
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def suite() -> AsyncIterator[Suite]:
    async with started() as running_suite:
        yield running_suite
