"""MCP servers as the registry has them: use cases, links and tools, over real sockets and programs.

Where the tools go is kept in memory here, as far as these tests need it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from services.chassis.egress.addresses import Allowed
from services.chassis.egress.client import Egress
from services.chassis.egress.secrets import StoredSecrets
from services.chassis.errors import ServiceError
from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.eventlog.port import EventStore
from services.tool_registry.adapters.mcp.bounds import Bounds
from services.tool_registry.adapters.mcp.links import McpLinks
from services.tool_registry.adapters.mcp.outside import Outside
from services.tool_registry.adapters.mcp.tools import McpTools
from services.tool_registry.adapters.serverstore import EventStoreServers
from services.tool_registry.domain.caller import Caller
from services.tool_registry.domain.server import MAX_SERVERS, Command, Server, State
from services.tool_registry.domain.tool import Entry
from services.tool_registry.ports import Answer, Invocation, Tool
from services.tool_registry.usecases.resources import Resources
from services.tool_registry.usecases.servers import Importer, Rules, Servers, Shown

ME = Caller("default", "local")
USUAL = Bounds()
LOOPBACK = Egress(Allowed.parsed("127.0.0.0/8,::1"))


async def eventually(holds: Callable[[], Awaitable[bool]], *, seconds: float = 20) -> None:
    """Look again and again until something holds; a test that waits longer has failed."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.02)


@dataclass(frozen=True)
class Brought:
    """See `links.Brought`."""

    outcomes: Mapping[str, str]
    versions: Mapping[str, str]
    skipped: Mapping[str, str]


@dataclass
class Shelf:
    """The newest versions of what sources brought, by tenant."""

    tools: dict[tuple[str, str], Entry] = field(default_factory=dict)
    brought: int = 0
    """How often tools came."""
    error: ServiceError | None = None
    """What the next ones meet."""

    async def bring(self, caller: Caller, source: str, wanted: Sequence[Entry]) -> Brought:
        """See `Registry`."""
        self.brought += 1
        if self.error is not None:
            raise self.error
        outcomes, skipped = {}, {}
        for entry in wanted:
            key = caller.tenant, entry.definition.name
            before = self.tools.get(key)
            if before is not None and before.source != source:
                skipped[key[1]] = f"the name is taken by {before.source}"
                continue
            is_same = before is not None and _said(before) == _said(entry)
            outcomes[key[1]] = "unchanged" if is_same else "updated" if before else "registered"
            self.tools[key] = replace(entry, source=source)
        names = {entry.definition.name for entry in wanted}
        for key in [*self.tools]:
            if key[0] == caller.tenant and self.tools[key].source == source and key[1] not in names:
                del self.tools[key]
                outcomes[key[1]] = "removed"
        return Brought(outcomes, dict.fromkeys(outcomes, "1.0.0"), skipped)

    async def sources(self, tenant: str, besides: Collection[str]) -> Sequence[str]:
        """See `Registry`."""
        has = {entry.source for (owner, _), entry in self.tools.items() if owner == tenant}
        return sorted(has - {*besides})

    async def take_away(self, caller: Caller, source: str) -> None:
        """See `Registry`."""
        await self.bring(caller, source, [])

    def names(self, tenant: str = "default") -> list[str]:
        """Of a tenant's tools."""
        return sorted(name for owner, name in self.tools if owner == tenant)


def _said(entry: Entry) -> object:
    definition = entry.definition
    documents = (definition.input_schema.document, definition.output_schema.document)
    return definition.description, documents


@dataclass(frozen=True)
class World:
    """One process's view."""

    store: EventStore
    shelf: Shelf
    links: McpLinks
    servers: Servers
    resources: Resources

    def tool(self, name: str, tenant: str = "default") -> Tool:
        """A tool, ready to be called."""
        return McpTools(self.links).made(self.shelf.tools[tenant, name], tenant)

    async def call(self, name: str, /, **arguments: object) -> Answer:
        """Call a tool."""
        return await self.tool(name).call(Invocation(arguments, idempotency_key="key_1"))

    async def register(self, namespace: str, at: str | Command, **options: object) -> Shown:
        """Register a server."""
        where = {"url": at} if isinstance(at, str) else {"command": at}
        server = replace(Server(namespace), **where, **options)
        return await self.servers.register(server, ME)

    async def until(self, namespace: str, holds: Callable[[Shown], object]) -> Shown:
        """Wait for something to hold of a server."""

        async def seen() -> bool:
            return bool(holds(await self.servers.get(ME, namespace)))

        await eventually(seen)
        return await self.servers.get(ME, namespace)

    async def until_state(self, namespace: str, state: State) -> Shown:
        """Wait for a state."""
        return await self.until(namespace, lambda shown: shown.seen.state is state)


@asynccontextmanager
async def world(
    *,
    store: EventStore | None = None,
    shelf: Shelf | None = None,
    secrets: Mapping[str, str] | None = None,
    has_commands: bool = True,
    egress: Egress = LOOPBACK,
    most_servers: int = MAX_SERVERS,
    bounds: Bounds = USUAL,
    suite: str = "",
) -> AsyncIterator[World]:
    """A process with links."""
    held = store or MemoryEventStore(now=_now)
    registrations, kept = EventStoreServers(held), shelf or Shelf()
    outside = Outside(egress, StoredSecrets(None, secrets or {}), suite=suite, bounds=bounds)
    links = McpLinks(registrations, outside, _now)

    rules = Rules(has_commands, outside.check_url, most_servers)
    servers = Servers(registrations, links, kept, rules, _now)
    async with links.open(Importer(registrations, kept)):
        yield World(held, kept, links, servers, Resources(links))


def _now() -> datetime:
    return datetime.now(UTC)
