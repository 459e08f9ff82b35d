"""MCP servers as they are registered and deleted, when a store fails in between."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import pytest

from services.chassis.errors import NotFound, Unavailable
from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.eventlog.port import Query, Record
from services.tool_registry.adapters.serverstore import EventStoreServers
from services.tool_registry.adapters.toolstore import NAME
from services.tool_registry.domain.server import Lists, Seen, Server
from services.tool_registry.usecases.servers import Importer, Rules, Servers
from tests.unit.tool_registry.kit import LOCAL, NOW, Kit, kit
from tests.unit.tool_registry.test_imports import SOURCE, tool

SERVER = Server("city", "https://mcp.example/mcp")


class Failing(MemoryEventStore):
    """Tells nobody which tools there are while it fails."""

    fails = False

    async def records(self, query: Query) -> Sequence[Record]:
        """See `EventStore`."""
        if self.fails and query.kind == NAME:
            raise Unavailable("EVENT_STORE_UNAVAILABLE", "not now")
        return await super().records(query)


class NoLinks:
    """Links of a process that has none."""

    def hold(self, tenant: str, server: Server) -> None:
        """See `Links`."""

    def drop(self, tenant: str, namespace: str) -> None:
        """See `Links`."""

    def seen(self, tenant: str, namespace: str) -> Seen:
        """See `Links`."""
        return Seen()

    async def settled(self, tenant: str, namespace: str, within: timedelta) -> None:
        """See `Links`."""

    async def lists(self, tenant: str) -> Mapping[str, tuple[Server, Lists]]:
        """See `Links`."""
        return {}


async def any_url(url: str) -> None:
    """Every URL may be called."""


async def a_server(events: MemoryEventStore) -> tuple[Servers, Importer, Kit]:
    """A server that is registered, and whose tool is there."""
    here, store = kit(events), EventStoreServers(events)
    servers = Servers(store, NoLinks(), here.registry, Rules(True, any_url), lambda: NOW)  # type: ignore[arg-type]
    imported = Importer(store, here.registry)
    shown = await servers.register(SERVER, LOCAL)
    await imported.take("default", shown.server, [tool("city__a")])
    assert await here.store.names("default", limit=9, source=SOURCE) == ["city__a"]
    return servers, imported, here


async def cut_short(servers: Servers, events: Failing) -> None:
    """Delete the server, and none of its tools."""
    events.fails = True
    with pytest.raises(Unavailable):
        await servers.delete(LOCAL, "city")
    events.fails = False


async def test_a_deletion_that_was_cut_short_is_finished_by_another() -> None:
    events = Failing()
    servers, _, here = await a_server(events)
    await cut_short(servers, events)

    with pytest.raises(NotFound) as caught:
        await servers.delete(LOCAL, "city")

    assert caught.value.reason == "MCP_SERVER_NOT_FOUND"
    assert await here.store.names("default", limit=9) == []


async def test_a_deletion_that_was_cut_short_is_finished_by_whoever_brings_tools() -> None:
    events = Failing()
    servers, imported, here = await a_server(events)
    server = (await servers.get(LOCAL, "city")).server
    await cut_short(servers, events)

    brought = await imported.take("default", server, [tool("city__a")])

    assert brought is None
    assert await here.store.names("default", limit=9) == []
