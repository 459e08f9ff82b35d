"""A tool registry over a real socket, whose tools take as long and answer as much as a test wants:
the built-in ones are quick and short."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.struct_pb2 import Struct, Value
from runplane.tool_registry.v1 import tool_registry_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as pb_grpc

TIMEOUT_MS = 60_000.0


@dataclass
class Tools(pb_grpc.ToolRegistryServiceServicer):
    """`wait` ends when its call is cancelled, and `repeat` answers `text`."""

    text: str = ""
    address: str = ""
    waiting: set[str] = field(default_factory=set)
    """Calls under way."""
    cancelled: set[str] = field(default_factory=set)

    async def ListTools(self, request: Any, context: Any) -> Any:  # noqa: N802 - the contract's
        """Both."""
        anything = Struct()
        anything.update({"type": "object"})
        tools = [
            pb.Tool(name=name, version="1.0.0", input_schema=anything, timeout_ms=TIMEOUT_MS)
            for name in ("repeat", "wait")
        ]
        return pb.ListToolsResponse(tools=tools)

    async def CallTool(self, request: Any, context: Any) -> Any:  # noqa: N802 - the contract's
        """One of them."""
        if request.name == "wait":
            await self._wait(request.tool_call_id)
        return pb.CallToolResponse(
            tool_call_id=request.tool_call_id,
            tool_name=request.name,
            status="success",
            result=Value(string_value=self.text),
        )

    async def _wait(self, call_id: str) -> None:
        self.waiting.add(call_id)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.add(call_id)
            raise
        finally:
            self.waiting.discard(call_id)


@asynccontextmanager
async def tools(text: str = "") -> AsyncIterator[Tools]:
    """Such a registry, until the context is left."""
    server = grpc.aio.server()
    found = Tools(text)
    pb_grpc.add_ToolRegistryServiceServicer_to_server(found, server)
    found.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield found
    finally:
        await server.stop(0)
