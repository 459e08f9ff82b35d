"""The real tool registry on a real socket."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import grpc
import pytest
import pytest_asyncio
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from runplane.tool_registry.v1 import tool_registry_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as pb_grpc

from services.chassis import structs
from services.chassis.settings import ServerSettings, SharedSettings
from services.chassis.status import status_of
from services.tool_registry.adapters.builtin.current_time import EXAMPLE_TIME
from services.tool_registry.app import running
from services.tool_registry.ports import Tool
from services.tool_registry.settings import LimitSettings, Settings

LOOPBACK = ServerSettings(listen="127.0.0.1:0", admin="127.0.0.1:0", grace=1)
SHARED = SharedSettings(page_token_key="00" * 32)


@dataclass(frozen=True)
class Fault:
    """A failed call, in parts."""

    code: grpc.StatusCode
    info: ErrorInfo
    fields: Sequence[str]
    retry_after_seconds: float


@dataclass(frozen=True)
class Registry:
    """A running registry as its clients see it."""

    stub: "pb_grpc.ToolRegistryServiceAsyncStub"  # In the stubs for type checkers only.

    async def call(self, name: str, /, **arguments: object) -> pb.CallToolResponse:
        """Call a tool."""
        return await self.stub.CallTool(request(name, **arguments), timeout=5)

    async def call_for(self, tenant: str, name: str, /, **arguments: object) -> pb.CallToolResponse:
        """Call a tool as somebody of another tenant."""
        metadata = [("runplane-tenant", tenant)]
        return await self.stub.CallTool(request(name, **arguments), timeout=5, metadata=metadata)

    async def tool(self, name: str, *, tenant: str = "default") -> pb.Tool:
        """A tool as it is shown."""
        metadata = [("runplane-tenant", tenant)]
        return await self.stub.GetTool(pb.GetToolRequest(name=name), timeout=5, metadata=metadata)

    async def refused(self, name: str, asked: Message, **metadata: str) -> Fault:
        """The failure of an RPC that fails."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await getattr(self.stub, name)(asked, timeout=5, metadata=list(metadata.items()))
        return fault_of(caught.value)

    async def fault(self, asked: pb.CallToolRequest, timeout: float = 5) -> Fault:
        """The failure of a call that fails."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.stub.CallTool(asked, timeout=timeout)
        return fault_of(caught.value)


def request(name: str, /, **arguments: object) -> pb.CallToolRequest:
    """A call of a tool."""
    asked = pb.CallToolRequest(name=name)
    structs.from_dict(arguments, asked.input)
    return asked


def fault_of(error: grpc.aio.AioRpcError) -> Fault:
    """The parts of an error."""
    info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
    for detail in status_of(error).details:
        for message in (info, bad, retry):
            detail.Unpack(message)
    fields = [each.field for each in bad.field_violations]
    return Fault(error.code(), info, fields, retry.retry_delay.ToTimedelta().total_seconds())


@asynccontextmanager
async def started(
    limits: LimitSettings | None = None,
    *more: Tool,
    event_store: str = "memory:",
    **settings: object,
) -> AsyncIterator[Registry]:
    """A registry with its built-in tools and `more`, at the time of the examples."""
    chosen = Settings(server=LOOPBACK, limits=limits or LimitSettings(), **settings)  # type: ignore[arg-type]
    shared = SHARED.model_copy(update={"event_store": event_store})
    async with (
        running(
            chosen, shared, now=lambda: datetime.fromisoformat(EXAMPLE_TIME), more=more
        ) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield Registry(pb_grpc.ToolRegistryServiceStub(channel))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def registry() -> AsyncIterator[Registry]:
    """A registry with its built-in tools. No call leaves a trace, so a module's tests share it."""
    async with started() as opened:
        yield opened
