"""A tool registry over a real socket, of which tests decide what it knows and what its tools do."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct, Value
from runplane.tool_registry.v1 import tool_registry_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as pb_grpc

from services.chassis.context import RequestContext, current
from services.chassis.errors import NotFound
from services.chassis.server import serving
from services.chassis.settings import ServerSettings
from services.chassis.versions import wanted

LOOPBACK = ServerSettings(listen="127.0.0.1:0", admin="127.0.0.1:0", grace=1)
SERVICE = pb.DESCRIPTOR.services_by_name["ToolRegistryService"].full_name
TIMEOUT_MS = 60_000.0

FILTERS: dict[str, Callable[[pb.Tool], bool]] = {
    "": lambda tool: True,
    "state = active": lambda tool: tool.state != pb.TOOL_STATE_DEPRECATED,
    "state = active AND kind = builtin": lambda tool: (
        tool.state != pb.TOOL_STATE_DEPRECATED and tool.kind == pb.TOOL_KIND_BUILTIN
    ),
}

Told = Callable[[pb.ToolCallEvent], Awaitable[None]]
Answer = Callable[[pb.CallToolRequest, Told], Awaitable[pb.CallToolResponse]]


@dataclass
class Called:
    """A call that came."""

    who: RequestContext
    request: pb.CallToolRequest


@dataclass
class Registry(pb_grpc.ToolRegistryServiceServicer):
    """What tenants have, and what came of calls. A tool that nothing is said of answers with the
    version it is called in."""

    tools: dict[tuple[str, str], list[pb.Tool]] = field(default_factory=dict)
    """By tenant and name; the newest version last. Those of the tenant `` are everybody's."""
    answers: dict[str, Answer] = field(default_factory=dict)
    called: list[Called] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    """The filters of lists that were asked for."""
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a call was cancelled."""
    address: str = ""

    def add(self, name: str, version: str = "1.0.0", *, tenant: str = "", **fields: Any) -> pb.Tool:
        """Add a version of a tool, which takes any object."""
        schema = ParseDict(fields.pop("input_schema", {"type": "object"}), Struct())
        tool = pb.Tool(
            name=name, version=version, input_schema=schema, timeout_ms=TIMEOUT_MS, **fields
        )
        self.tools.setdefault((tenant, name), []).append(tool)
        return tool

    async def ListTools(self, request: Any, context: Any) -> Any:  # noqa: N802 - the contract's
        """The newest of each that a filter allows which the orchestrator has."""
        self.listed.append(request.filter)
        mine = {"", current.get().principal.tenant}
        newest = [all_of[-1] for (tenant, _), all_of in self.tools.items() if tenant in mine]
        return pb.ListToolsResponse(tools=filter(FILTERS[request.filter], newest))

    async def GetTool(self, request: Any, context: Any) -> Any:  # noqa: N802 - the contract's
        """The newest that a range allows."""
        return self._find(request.name, request.version)

    async def CallTool(self, request: Any, context: Any) -> Any:  # noqa: N802 - the contract's
        """Whatever a test says."""

        async def tell(event: pb.ToolCallEvent) -> None:
            raise AssertionError(f"{event.type} has nowhere to go")

        return await self._call(request, tell)

    async def StreamCallTool(self, request: Any, context: Any) -> Any:  # noqa: N802 - the contract's
        """The same, with what is told on the way."""
        told: asyncio.Queue[pb.ToolCallEvent] = asyncio.Queue(1)

        async def call() -> None:
            response = await self._call(request, told.put)
            await told.put(pb.ToolCallEvent(type="response", response=response))

        async with asyncio.TaskGroup() as group:
            group.create_task(call())
            while True:
                event = await told.get()
                yield event
                if event.type == "response":
                    return

    async def _call(self, request: pb.CallToolRequest, tell: Told) -> pb.CallToolResponse:
        tool = self._find(request.name, request.version)
        self.called.append(Called(current.get(), request))
        try:
            answer = self.answers.get(tool.name, self._version)
            response = await answer(request, tell)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        response.tool_name, response.tool_version = tool.name, tool.version
        return response

    async def _version(self, request: pb.CallToolRequest, tell: Told) -> pb.CallToolResponse:
        return success({"version": request.version})

    def _find(self, name: str, version: str) -> pb.Tool:
        mine = ("", current.get().principal.tenant)
        found = [tool for tenant in mine for tool in self.tools.get((tenant, name), ())]
        if not found:
            raise NotFound("TOOL_NOT_FOUND", f"there is no tool {name}")
        allowed = wanted(version)
        fitting = [tool for tool in found if allowed.allows(tool.version)]
        if not fitting:
            raise NotFound("TOOL_VERSION_NOT_FOUND", f"{name} has no version {version}")
        return fitting[-1]


def success(result: object, **fields: Any) -> pb.CallToolResponse:
    """A result."""
    return pb.CallToolResponse(status="success", result=ParseDict(result, Value()), **fields)


def failed(reason: str, message: str, fix: str = "") -> pb.CallToolResponse:
    """A failure of the tool's own."""
    error = pb.ToolError(reason=reason, message=message, suggested_fix=fix)
    return pb.CallToolResponse(status="error", error=error)


def asks(requests: Mapping[str, object], state: str = "") -> pb.CallToolResponse:
    """That it asks for something first."""
    inputs = ParseDict(requests, Struct())
    return pb.CallToolResponse(status="input_required", input_requests=inputs, request_state=state)


@asynccontextmanager
async def registry(*more: Callable[[grpc.aio.Server], None]) -> AsyncIterator[Registry]:
    """Such a registry, until the context is left; `more` registers other services with it."""
    found = Registry()

    def register(server: grpc.aio.Server) -> None:
        pb_grpc.add_ToolRegistryServiceServicer_to_server(found, server)

    domain = "tool-registry.runplane.dev"
    services = [register, *more]
    async with serving(LOOPBACK, domain=domain, register=services, services=[SERVICE]) as server:
        found.address = server.address
        yield found
