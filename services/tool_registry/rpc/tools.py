"""`runplane.tool_registry.v1.ToolRegistryService`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import TypeAlias, TypeVar

import grpc
from google.protobuf.empty_pb2 import Empty
from runplane.tool_registry.v1 import tool_registry_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as pb_grpc

from services.chassis import filtering, structs
from services.chassis.context import RequestContext, current
from services.chassis.fingerprint import fingerprint
from services.chassis.paging import Pager
from services.tool_registry.domain.call import Call, Outcome
from services.tool_registry.domain.caller import Caller
from services.tool_registry.domain.tool import Entry
from services.tool_registry.mapping import calls, documents, tools
from services.tool_registry.mapping.targets import target
from services.tool_registry.rpc.spans import executed, executing
from services.tool_registry.usecases.calls import Calls
from services.tool_registry.usecases.documents import Documents
from services.tool_registry.usecases.registry import Registry
from services.tool_registry.usecases.standing import Standing

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"
_Told = TypeVar("_Told")
_Packed = TypeVar("_Packed")


class ToolRegistryServicer(pb_grpc.ToolRegistryServiceServicer):
    """Tools and their calls."""

    def __init__(
        self,
        registry: Registry,
        documents: Documents,
        calls: Calls,
        standing: Standing,
        pagers: tuple[Pager, Pager],
    ) -> None:
        """`pagers` are for tools and for versions."""
        self._registry = registry
        self._documents = documents
        self._calls = calls
        self._standing = standing
        self._pager, self._versions = pagers

    async def RegisterTool(self, request: pb.RegisterToolRequest, context: Context) -> pb.Tool:
        """See the contract."""
        key = request.idempotency_key or current.get().idempotency_key
        registered = await self._registry.register(
            tools.wished(request.tool),
            _caller(),
            key=key,
            fingerprint=fingerprint(request.tool) if key else "",
        )
        return self._packed(registered)

    async def UpdateTool(self, request: pb.UpdateToolRequest, context: Context) -> pb.Tool:
        """See the contract."""
        updated = await self._registry.update(
            _caller(),
            request.name,
            tools.wished(request.tool),
            tools.mask(request),
            request.tool.version,
        )
        return self._packed(updated)

    async def DeprecateTool(self, request: pb.DeprecateToolRequest, context: Context) -> pb.Tool:
        """See the contract."""
        name, version = request.name, request.version
        marked = await self._registry.deprecate(_caller(), name, version, request.message)
        return self._packed(marked)

    async def UndeprecateTool(
        self, request: pb.UndeprecateToolRequest, context: Context
    ) -> pb.Tool:
        """See the contract."""
        marked = await self._registry.undeprecate(_caller(), request.name, request.version)
        return self._packed(marked)

    async def DeleteTool(self, request: pb.DeleteToolRequest, context: Context) -> Empty:
        """See the contract."""
        await self._registry.delete(_caller(), request.name)
        return Empty()

    async def ListTools(
        self, request: pb.ListToolsRequest, context: Context
    ) -> pb.ListToolsResponse:
        """See the contract."""
        caller, size = _caller(), self._pager.size(request.page_size)
        after = self._pager.after(request.page_token, filter=request.filter)
        where = filtering.condition(request.filter, tools.FILTERED)
        read = partial(self._registry.page, caller, where)
        found, token = await self._pager.page(read, after, size, filter=request.filter)
        shown = (self._listed(pb.Tool.FromString(each), caller) for each in found)
        return pb.ListToolsResponse(tools=shown, next_page_token=token)

    async def GetTool(self, request: pb.GetToolRequest, context: Context) -> pb.Tool:
        """See the contract."""
        tool = await self._registry.get(_caller(), request.name, request.version)
        return self._shown(tools.tool(tool.entry), tool.unavailable)

    async def ListToolVersions(
        self, request: pb.ListToolVersionsRequest, context: Context
    ) -> pb.ListToolVersionsResponse:
        """See the contract."""
        caller, size = _caller(), self._versions.size(request.page_size)
        after = self._versions.after(request.page_token, name=request.name)
        read = partial(self._registry.versions, caller, request.name)
        found, token = await self._versions.page(read, after, size, name=request.name)
        shown = (self._listed(pb.Tool.FromString(each), caller) for each in found)
        return pb.ListToolVersionsResponse(tools=shown, next_page_token=token)

    async def ImportOpenApi(
        self, request: pb.ImportOpenApiRequest, context: Context
    ) -> pb.ImportOpenApiResponse:
        """See the contract."""
        document = structs.to_dict(request.document, field="document")
        wanted = documents.wanted(request)
        return documents.response(await self._documents.openapi(_caller(), document, wanted))

    async def CallTool(self, request: pb.CallToolRequest, context: Context) -> pb.CallToolResponse:
        """See the contract."""
        here = current.get()
        execution = executing(request)
        outcome = await self._calls.call(_asked(request, context, here))
        executed(execution, outcome)
        return await _packed(calls.response, outcome, here)

    async def StreamCallTool(
        self, request: pb.CallToolRequest, context: Context
    ) -> AsyncIterator[pb.ToolCallEvent]:
        """See the contract."""
        here = current.get()
        calling = self._calls.stream(_asked(request, context, here))
        execution = executing(request)
        async with aclosing(calling) as events:
            async for told in events:
                if isinstance(told, Outcome):
                    executed(execution, told)
                yield await _packed(calls.event, told, here)

    def _packed(self, entry: Entry) -> pb.Tool:
        return self._shown(tools.tool(entry), self._registry.unavailable(_caller(), entry.target))

    def _listed(self, packed: pb.Tool, caller: Caller) -> pb.Tool:
        """A tool as it was stored, which is never compiled for a list."""
        if not packed.HasField("mcp"):  # What has no server of ours is tried when it is called.
            return self._shown(packed, "")
        return self._shown(packed, self._registry.unavailable(caller, target(packed)))

    def _shown(self, packed: pb.Tool, unavailable: str) -> pb.Tool:
        """With what is true of it at the moment, and here."""
        packed.requires_approval |= self._standing.requires_approval(packed.name)
        key = (current.get().principal.tenant, packed.name, packed.version)
        packed.circuit = calls.CIRCUITS[self._standing.circuit(*key)]
        packed.unavailable = unavailable or self._standing.trouble(*key)
        return packed


async def _packed(
    pack: Callable[[_Told, RequestContext], _Packed], told: _Told, here: RequestContext
) -> _Packed:
    """What is said, packed where nobody waits for it."""
    if isinstance(told, Outcome) and told.is_large:
        return await asyncio.to_thread(pack, told, here)
    return pack(told, here)


def _caller() -> Caller:
    who = current.get().principal
    return Caller(who.tenant, who.subject)


def _asked(request: pb.CallToolRequest, context: Context, here: RequestContext) -> Call:
    return calls.call(
        request,
        tenant=here.principal.tenant,
        time_left=context.time_remaining(),
        key=here.idempotency_key,
    )
