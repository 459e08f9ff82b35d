"""Tools, by the tool registry."""

from collections.abc import Mapping
from datetime import timedelta

import grpc
from runplane.tool_registry.v1 import tool_registry_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as pb_grpc

from services.chassis import structs
from services.chassis.client import unary
from services.orchestrator.adapters.cached import Cached
from services.orchestrator.domain.events import Failure
from services.orchestrator.domain.tool import Example, Tool
from services.orchestrator.ports import Returned

_PAGE = 1000


class GrpcTools:
    """Asks the tool registry; its list of tools may be `ttl` old."""

    def __init__(self, channel: grpc.aio.Channel, *, timeout: timedelta, ttl: timedelta) -> None:
        self._stub: pb_grpc.ToolRegistryServiceAsyncStub = pb_grpc.ToolRegistryServiceStub(channel)
        self._timeout = timeout.total_seconds()
        self._known = Cached(self._fetch, ttl)

    async def catalogue(self) -> Mapping[str, Tool]:
        """Every tool, by name."""
        return await self._known.get()

    async def call(
        self, tool: str, given: Mapping[str, object], *, call_id: str, timeout: float
    ) -> Returned:
        """Call a tool."""
        request = pb.CallToolRequest(name=tool, tool_call_id=call_id)
        structs.from_dict(given, request.input)
        response = await unary(self._stub.CallTool, request, timeout=timeout)
        latency_ms = response.observability.latency_ms
        if response.status == "success":
            return Returned(structs.to_value(response.result), None, latency_ms)
        error = response.error
        failed = Failure("FAILED_PRECONDITION", error.reason, error.message, error.suggested_fix)
        return Returned(None, failed, latency_ms)

    async def _fetch(self) -> Mapping[str, Tool]:
        request = pb.ListToolsRequest(page_size=_PAGE)
        known: dict[str, Tool] = {}
        while True:
            page = await unary(self._stub.ListTools, request, timeout=self._timeout)
            known |= {tool.name: _tool(tool) for tool in page.tools}
            if not page.next_page_token:
                return known
            request.page_token = page.next_page_token


def _tool(message: pb.Tool) -> Tool:
    return Tool(
        name=message.name,
        version=message.version,
        description=message.description,
        input_schema=structs.to_dict(message.input_schema),
        examples=[
            Example(each.query, structs.to_dict(each.input), structs.to_value(each.output))
            for each in message.examples
        ],
        timeout_ms=message.timeout_ms,
        is_idempotent=message.is_idempotent,
        requires_approval=message.requires_approval,
    )
