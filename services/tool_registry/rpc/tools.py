"""`runplane.tool_registry.v1.ToolRegistryService`."""

from collections.abc import AsyncIterator, Collection
from contextlib import aclosing
from typing import TypeAlias

import grpc
from runplane.tool_registry.v1 import tool_registry_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as pb_grpc

from services.chassis.context import current, idempotency_key
from services.chassis.paging import Pager
from services.tool_registry.domain.call import Call
from services.tool_registry.mapping import calls, tools
from services.tool_registry.ports import Tool
from services.tool_registry.usecases.calls import Calls
from services.tool_registry.usecases.circuits import Circuits
from services.tool_registry.usecases.shelves import Builtins

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class ToolRegistryServicer(pb_grpc.ToolRegistryServiceServicer):
    """Tools and their calls."""

    def __init__(
        self,
        builtins: Builtins,
        calls: Calls,
        circuits: Circuits,
        pager: Pager,
        approval: Collection[str],
    ) -> None:
        self._tools = builtins
        self._calls = calls
        self._circuits = circuits
        self._approval = approval
        self._pager = pager

    async def ListTools(
        self, request: pb.ListToolsRequest, context: Context
    ) -> pb.ListToolsResponse:
        """See the contract."""
        size = self._pager.size(request.page_size)
        after = self._pager.after(request.page_token)
        page, has_more = self._tools.list(after=after, size=size)
        token = self._pager.token(page[-1].entry.definition.name) if has_more else ""
        return pb.ListToolsResponse(tools=map(self._tool, page), next_page_token=token)

    async def GetTool(self, request: pb.GetToolRequest, context: Context) -> pb.Tool:
        """See the contract."""
        return self._tool(self._tools.get(request.name))

    async def CallTool(self, request: pb.CallToolRequest, context: Context) -> pb.CallToolResponse:
        """See the contract."""
        here = current.get()
        outcome = await self._calls.call(_asked(request, context, here.principal.tenant))
        return calls.response(outcome, here)

    async def StreamCallTool(
        self, request: pb.CallToolRequest, context: Context
    ) -> AsyncIterator[pb.ToolCallEvent]:
        """See the contract."""
        here = current.get()
        call = _asked(request, context, here.principal.tenant)
        async with aclosing(self._calls.stream(call)) as events:
            async for told in events:
                yield calls.event(told, here)

    def _tool(self, tool: Tool) -> pb.Tool:
        packed = tools.tool(tool.entry)
        packed.requires_approval |= packed.name in self._approval
        self._add_health(packed, tool)
        return packed

    def _add_health(self, packed: pb.Tool, tool: Tool) -> None:
        """Whether calls work at the moment, as far as is known here."""
        key = (current.get().principal.tenant, packed.name, packed.version)
        packed.circuit = calls.CIRCUITS[self._circuits.state(*key)]
        packed.unavailable = tool.unavailable or self._circuits.trouble(*key)


def _asked(request: pb.CallToolRequest, context: Context, tenant: str) -> Call:
    key = "" if request.idempotency_key else idempotency_key(context.invocation_metadata())
    return calls.call(request, tenant=tenant, time_left=context.time_remaining(), key=key)
