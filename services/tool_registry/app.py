"""The composition root: the only place that names tools."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

import grpc
from runplane.tool_registry.v1 import (
    resources_pb2,
    resources_pb2_grpc,
    servers_pb2,
    servers_pb2_grpc,
)
from runplane.tool_registry.v1 import tool_registry_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as pb_grpc

from services.chassis import ids
from services.chassis.egress.addresses import Allowed, Denied
from services.chassis.egress.client import Egress
from services.chassis.egress.secrets import StoredSecrets
from services.chassis.eventlog.open import event_store_of
from services.chassis.eventlog.port import EventStore
from services.chassis.metrics import Metrics
from services.chassis.paging import MAXIMUM, Pager
from services.chassis.server import Running, serving
from services.chassis.settings import SharedSettings
from services.chassis.suite import suite_id
from services.tool_registry import metrics
from services.tool_registry.adapters.builtin.calculator import Calculator
from services.tool_registry.adapters.builtin.current_time import CurrentTime
from services.tool_registry.adapters.builtin.unit_convert import UnitConvert
from services.tool_registry.adapters.client_tool import ClientTools
from services.tool_registry.adapters.grpc.tool import GrpcTools
from services.tool_registry.adapters.http.tool import HttpTools
from services.tool_registry.adapters.mcp.links import McpLinks
from services.tool_registry.adapters.mcp.outside import Outside
from services.tool_registry.adapters.mcp.tools import McpTools
from services.tool_registry.adapters.serverstore import EventStoreServers
from services.tool_registry.adapters.toolstore import EventStoreTools
from services.tool_registry.domain import names
from services.tool_registry.domain.circuit import Policy
from services.tool_registry.domain.targets import Client, Grpc, Http, Mcp, Target
from services.tool_registry.mapping import tools as mapping
from services.tool_registry.ports import Maker, Tool
from services.tool_registry.rpc.resources import Pagers, ResourceServicer
from services.tool_registry.rpc.servers import McpServerServicer
from services.tool_registry.rpc.tools import ToolRegistryServicer
from services.tool_registry.settings import Settings
from services.tool_registry.usecases.calls import Calls, Limits
from services.tool_registry.usecases.census import Census
from services.tool_registry.usecases.circuits import Circuits
from services.tool_registry.usecases.documents import Documents
from services.tool_registry.usecases.registry import Registry
from services.tool_registry.usecases.resources import Resources
from services.tool_registry.usecases.runs import Runs
from services.tool_registry.usecases.servers import Importer, Rules, Servers, follows
from services.tool_registry.usecases.shelves import Builtins, Keeping, ToolShelf
from services.tool_registry.usecases.standing import Standing
from services.tool_registry.usecases.writing import Writer

DOMAIN: Final = "tool-registry.runplane.dev"
SERVICES: Final = [
    pb.DESCRIPTOR.services_by_name["ToolRegistryService"].full_name,
    servers_pb2.DESCRIPTOR.services_by_name["McpServerService"].full_name,
    resources_pb2.DESCRIPTOR.services_by_name["ResourceService"].full_name,
]
PART: Final = MAXIMUM + 1  # A page is one read.


@dataclass(frozen=True, slots=True)
class Parts:
    """What the servicers are made of."""

    shelf: ToolShelf
    registry: Registry


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


@asynccontextmanager
async def running(
    settings: Settings,
    shared: SharedSettings,
    *,
    now: Callable[[], datetime] = utc_now,
    more: Sequence[Tool] = (),
) -> AsyncIterator[Running]:
    """Run the service with its built-in tools, and `more`.

    Raises:
        OSError: an address cannot be listened on.
        InvalidArgument: `INVALID_REQUEST`; a tool has a name that none may have.
        AlreadyExists: `TOOL_ALREADY_EXISTS`; it has one that agents' own tools have.
        ServiceError: the event store cannot be opened.
    """
    clock, units = CurrentTime(now), UnitConvert()
    builtin: list[Tool] = [Calculator(), clock, units, *more]
    for name in settings.approval:
        names.check(name)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        store = await enter(event_store_of(shared, "tool_registry"))
        chosen = settings.egress
        allowed, never = Allowed.parsed(chosen.allow), Denied.parsed(chosen.deny)
        egress = await enter(Egress(allowed, never, settings="TOOL_REGISTRY_EGRESS"))
        secrets = StoredSecrets(settings.secrets.folder, settings.secrets.values)
        outside = Outside(egress, secrets, suite=suite_id(shared.page_token_key))
        registrations = EventStoreServers(store)
        links = McpLinks(registrations, outside, now)
        most = settings.limits.result_bytes
        makers = {**await enter(_makers(egress, secrets, most, now)), Mcp: McpTools(links)}
        parts = _parts(settings, store, builtin, makers, now)
        await enter(links.open(Importer(registrations, parts.registry)))
        rules = Rules(settings.mcp.stdio, outside.check_url)
        servers = Servers(registrations, links, parts.registry, rules, now)
        measured = Metrics()
        measured.show(*store.measures.all())
        of_tools = _servicer(settings, shared, parts, await enter(Runs()), measured)
        register: list[Callable[[grpc.aio.Server], object]] = [
            partial(pb_grpc.add_ToolRegistryServiceServicer_to_server, of_tools),
            *_of_servers(shared, servers, links),
        ]
        server = await enter(_serving(settings, register, measured))
        background = await enter(asyncio.TaskGroup())
        warming = [background.create_task(tool.warm()) for tool in (clock, units)]
        yield server
        for task in warming:
            task.cancel()


@asynccontextmanager
async def _makers(
    egress: Egress, secrets: StoredSecrets, most: int, now: Callable[[], datetime]
) -> AsyncIterator[Mapping[type[Target], Maker]]:
    """Who makes the tools of each kind, but for those of MCP servers."""
    async with (
        HttpTools(egress, secrets, result_bytes=most, now=now) as http,
        GrpcTools(egress, secrets, result_bytes=most) as grpc_tools,
    ):
        yield {Client: ClientTools(), Http: http, Grpc: grpc_tools}


def _parts(
    settings: Settings,
    store: EventStore,
    builtin: Sequence[Tool],
    makers: Mapping[type[Target], Maker],
    now: Callable[[], datetime],
) -> Parts:
    builtins, tools = Builtins(builtin), EventStoreTools(store)
    keeping = Keeping(settings.cache_ttl, settings.registry.cache_size)
    shelf = ToolShelf(builtins, tools, makers, keeping)
    census = Census(tools, settings.registry.tools)
    writer = Writer(builtins, tools, shelf, makers, census, settings.registry.versions, now)
    listed = [mapping.record(mapping.tool(tool.entry)) for tool in builtin]
    return Parts(shelf, Registry(writer, listed, partial(follows, EventStoreServers(store))))


def _servicer(
    settings: Settings, shared: SharedSettings, parts: Parts, runs: Runs, measured: Metrics
) -> ToolRegistryServicer:
    limits = Limits(**settings.limits.model_dump())
    policy = Policy(**settings.circuit.model_dump())
    circuits = Circuits(policy, now=time.monotonic, chance=random.random)
    calls = Calls(parts.shelf, limits, circuits, runs, partial(ids.new, "call"))
    measured.show(calls.measures.calls)
    measured.add(*metrics.of_circuits(circuits))
    key = _key(shared)
    pagers = (Pager(key, "tools", part=PART), Pager(key, "tool_versions", part=PART))
    documents, standing = Documents(parts.registry), Standing(circuits, settings.approval)
    return ToolRegistryServicer(parts.registry, documents, calls, standing, pagers)


def _of_servers(
    shared: SharedSettings, servers: Servers, links: McpLinks
) -> list[Callable[[grpc.aio.Server], object]]:
    """The services of MCP servers, and of what they have beside tools."""
    pager = partial(Pager, _key(shared))
    whole = partial(pager, part=PART)
    pagers = Pagers(whole("resources"), whole("resource_templates"), whole("prompts"))
    of_servers = McpServerServicer(servers, pager("mcp_servers"))
    of_resources = ResourceServicer(Resources(links), pagers)
    return [
        partial(servers_pb2_grpc.add_McpServerServiceServicer_to_server, of_servers),
        partial(resources_pb2_grpc.add_ResourceServiceServicer_to_server, of_resources),
    ]


def _serving(
    settings: Settings, register: Sequence[Callable[[grpc.aio.Server], object]], measured: Metrics
) -> AbstractAsyncContextManager[Running]:
    return serving(
        settings.server,
        domain=DOMAIN,
        register=register,
        services=SERVICES,
        metrics=measured,
    )


def _key(shared: SharedSettings) -> bytes:
    return bytes.fromhex(shared.page_token_key.get_secret_value())
