"""The composition root: the only place that names tools."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

from runplane.tool_registry.v1 import tool_registry_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as pb_grpc

from services.chassis import ids
from services.chassis.eventlog.open import event_store
from services.chassis.eventlog.port import EventStore
from services.chassis.paging import Pager
from services.chassis.server import Running, serving
from services.chassis.settings import SharedSettings
from services.tool_registry.adapters.builtin.calculator import Calculator
from services.tool_registry.adapters.builtin.current_time import CurrentTime
from services.tool_registry.adapters.builtin.unit_convert import UnitConvert
from services.tool_registry.adapters.client_tool import ClientTools
from services.tool_registry.adapters.egress import Egress
from services.tool_registry.adapters.grpc_tool import GrpcTools
from services.tool_registry.adapters.http_tool import HttpTools
from services.tool_registry.adapters.secrets import StoredSecrets
from services.tool_registry.adapters.toolstore import EventStoreTools
from services.tool_registry.domain import names
from services.tool_registry.domain.addresses import Allowed
from services.tool_registry.domain.circuit import Policy
from services.tool_registry.domain.targets import Client, Grpc, Http, Target
from services.tool_registry.mapping import tools as mapping
from services.tool_registry.ports import Maker, Tool
from services.tool_registry.rpc.tools import ToolRegistryServicer
from services.tool_registry.settings import Settings
from services.tool_registry.usecases.calls import Calls, Limits
from services.tool_registry.usecases.census import Census
from services.tool_registry.usecases.circuits import Circuits
from services.tool_registry.usecases.registry import Registry
from services.tool_registry.usecases.runs import Runs
from services.tool_registry.usecases.shelves import Builtins, Keeping, ToolShelf
from services.tool_registry.usecases.writing import Writer

DOMAIN: Final = "tool-registry.runplane.dev"
SERVICE: Final = pb.DESCRIPTOR.services_by_name["ToolRegistryService"].full_name
PART: Final = 256  # Of a list, that is read at once.


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
        ServiceError: the event store cannot be opened.
    """
    clock, units = CurrentTime(now), UnitConvert()
    builtin: list[Tool] = [Calculator(), clock, units, *more]
    for name in settings.approval:
        names.check(name)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        store = await enter(event_store(shared.event_store, service="tool_registry"))
        parts = _parts(settings, store, builtin, await enter(_makers(settings)), now)
        servicer = _servicer(settings, shared, parts, await enter(Runs()))
        server = await enter(
            serving(
                settings.server,
                domain=DOMAIN,
                register=[partial(pb_grpc.add_ToolRegistryServiceServicer_to_server, servicer)],
                services=[SERVICE],
            )
        )
        background = await enter(asyncio.TaskGroup())
        warming = [background.create_task(tool.warm()) for tool in (clock, units)]
        yield server
        for task in warming:
            task.cancel()


@asynccontextmanager
async def _makers(settings: Settings) -> AsyncIterator[Mapping[type[Target], Maker]]:
    """Who makes the tools of each kind."""
    egress = Egress(Allowed.parsed(settings.egress.allow))
    secrets = StoredSecrets(settings.secrets.folder, settings.secrets.values)
    most = settings.limits.result_bytes
    async with (
        HttpTools(egress, secrets, result_bytes=most) as http,
        GrpcTools(egress, secrets, result_bytes=most) as grpc,
    ):
        yield {Client: ClientTools(), Http: http, Grpc: grpc}


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
    return Parts(shelf, Registry(writer, listed))


def _servicer(
    settings: Settings, shared: SharedSettings, parts: Parts, runs: Runs
) -> ToolRegistryServicer:
    limits = Limits(**settings.limits.model_dump())
    policy = Policy(**settings.circuit.model_dump())
    circuits = Circuits(policy, now=time.monotonic, chance=random.random)
    calls = Calls(parts.shelf, limits, circuits, runs, partial(ids.new, "call"))
    key = bytes.fromhex(shared.page_token_key.get_secret_value())
    pagers = (Pager(key, "tools", part=PART), Pager(key, "tool_versions", part=PART))
    return ToolRegistryServicer(parts.registry, calls, circuits, pagers, settings.approval)
