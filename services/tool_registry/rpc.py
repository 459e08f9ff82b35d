"""The gRPC surface: unpack, call, pack."""

from collections.abc import Collection
from typing import TypeAlias

import grpc
from runplane.tool_registry.v1 import tool_registry_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as pb_grpc

from services.chassis.context import current
from services.chassis.paging import Pager
from services.tool_registry import mapping
from services.tool_registry.domain.tool import Definition
from services.tool_registry.usecases import Tools

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class ToolRegistryServicer(pb_grpc.ToolRegistryServiceServicer):
    """`runplane.tool_registry.v1.ToolRegistryService`."""

    def __init__(self, tools: Tools, pager: Pager, approval: Collection[str]) -> None:
        self._tools = tools
        self._approval = approval
        self._pager = pager

    async def ListTools(
        self, request: pb.ListToolsRequest, context: Context
    ) -> pb.ListToolsResponse:
        """See the contract."""
        size = self._pager.size(request.page_size)
        after = self._pager.after(request.page_token)
        page, has_more = self._tools.list(after=after, size=size)
        token = self._pager.token(page[-1].name) if has_more else ""
        return pb.ListToolsResponse(tools=map(self._tool, page), next_page_token=token)

    async def GetTool(self, request: pb.GetToolRequest, context: Context) -> pb.Tool:
        """See the contract."""
        return self._tool(self._tools.get(request.name))

    async def CallTool(self, request: pb.CallToolRequest, context: Context) -> pb.CallToolResponse:
        """See the contract."""
        call = mapping.call(request, time_left=context.time_remaining())
        return mapping.response(await self._tools.call(call), current.get())

    def _tool(self, definition: Definition) -> pb.Tool:
        return mapping.tool(definition, requires_approval=definition.name in self._approval)
