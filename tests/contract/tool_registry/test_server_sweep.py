"""Tools of MCP servers that are gone are taken away, by whichever replicas look for them."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from services.chassis.egress.secrets import StoredSecrets
from services.chassis.eventlog.port import EventStore
from services.tool_registry.adapters.mcp.bounds import Bounds
from services.tool_registry.adapters.mcp.links import McpLinks
from services.tool_registry.adapters.mcp.outside import Outside
from services.tool_registry.adapters.serverstore import EventStoreServers
from services.tool_registry.domain.caller import Caller
from services.tool_registry.domain.server import Server
from services.tool_registry.usecases.servers import Importer, source
from tests.integration.tool_registry.world import LOOPBACK, eventually
from tests.unit.tool_registry.kit import LOCAL, NOW, Kit, kit
from tests.unit.tool_registry.test_imports import tool

SERVER = Server("kept", "http://127.0.0.1:9/mcp", owner="local", create_time=NOW)
OFTEN = Bounds(look_seconds=0.05, sweep_seconds=0.05)


async def names(here: Kit, tenant: str = "default") -> list[str]:
    return list(await here.store.names(tenant, limit=99))


@pytest.fixture
async def here(events: EventStore) -> Kit:
    """A store in which one server is registered, and tools of it, of a deleted one, of nobody and
    of another kind of source."""
    made = kit(events)
    await EventStoreServers(events).add("default", SERVER)
    await made.registry.bring(LOCAL, source("kept"), [tool("kept__a")])
    await made.registry.bring(LOCAL, source("gone"), [tool("gone__a"), tool("gone__b")])
    await made.registry.bring(LOCAL, "openapi:pets", [tool("pets__a")])
    await made.registry.register(tool("mine"), LOCAL)
    return made


async def test_tools_of_a_server_that_is_gone_are_taken_away(here: Kit, events: EventStore) -> None:
    importer = Importer(EventStoreServers(events), here.registry)
    await importer.sweep("default")
    once = await names(here)
    await importer.sweep("default")

    assert once == await names(here) == ["kept__a", "mine", "pets__a"]


async def test_replicas_that_sweep_at_once_do_no_harm(here: Kit, events: EventStore) -> None:
    replicas = [Importer(EventStoreServers(events), kit(events).registry) for _ in range(3)]
    await asyncio.gather(*(each.sweep("default") for each in replicas))

    assert await names(here) == ["kept__a", "mine", "pets__a"]


async def test_another_tenants_tools_stay(here: Kit, events: EventStore) -> None:
    other = Caller("other", "local")
    await here.registry.bring(other, source("gone"), [tool("gone__a")])
    await Importer(EventStoreServers(events), here.registry).sweep("default")

    assert await names(here, "other") == ["gone__a"]


async def test_running_replicas_sweep_by_themselves(here: Kit, events: EventStore) -> None:
    store, outside = EventStoreServers(events), Outside(LOOPBACK, StoredSecrets(None, {}))
    outside = replace(outside, bounds=OFTEN)

    async def is_swept() -> bool:
        return await names(here) == ["kept__a", "mine", "pets__a"]

    async with AsyncExitStack() as stack:
        for _ in range(2):
            links = McpLinks(store, outside, lambda: datetime.now(UTC))
            await stack.enter_async_context(links.open(Importer(store, kit(events).registry)))
        await eventually(is_swept)
        await here.registry.bring(LOCAL, source("late"), [tool("late__a")])
        await eventually(is_swept)
