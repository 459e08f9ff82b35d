"""What callers can do with MCP servers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from services.chassis.errors import (
    FailedPrecondition,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from services.chassis.eventlog.port import Key
from services.chassis.starts import check_length, once, owned
from services.tool_registry.domain import server as sv
from services.tool_registry.domain import server_changes
from services.tool_registry.domain.brought import Brought
from services.tool_registry.domain.caller import Caller
from services.tool_registry.domain.refusals import TARGET_REFUSED, not_called
from services.tool_registry.domain.server import Seen, Server
from services.tool_registry.domain.tool import Entry
from services.tool_registry.ports import Links, ServerStore
from services.tool_registry.usecases.registry import Registry
from services.tool_registry.usecases.resources import shadowed

log = logging.getLogger(__name__)

WAIT: Final = timedelta(seconds=10)
"""How long a registration waits for its server at most."""
_SHARE: Final = 0.8
"""Of the time that a caller has left; the rest is for the answer."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A server, and what this process sees of it."""

    server: Server
    seen: Seen


@dataclass(frozen=True, slots=True)
class Request:
    """What goes along with a registration or a change."""

    time_left: timedelta | None = None
    """How long the caller waits; None: as long as it takes."""
    key: str = ""
    """Names the request, if it is a registration."""
    fingerprint: str = ""
    """Of what is registered; empty without a key."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Which servers may be registered."""

    has_commands: bool
    """Whether programs are started."""
    check_url: Callable[[str], Awaitable[None]]
    """Raises `TARGET_REFUSED` for a URL that is not called from here."""
    most: int = sv.MAX_SERVERS
    """Of a tenant."""


ANY: Final = Request()


class Servers:
    """Keeps and shows servers. Links to them are `Links`'."""

    def __init__(
        self,
        store: ServerStore,
        links: Links,
        registry: Registry,
        rules: Rules,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._links = links
        self._registry = registry
        self._rules = rules
        self._now = now
        self._adding = asyncio.Lock()

    async def register(self, server: Server, caller: Caller, request: Request = ANY) -> Shown:
        """Keep a server, or find the one that the idempotency key stands for; return when it was
        reached or could not be."""
        sv.check(server)
        check_length(request.key)
        if not request.key:
            kept = await self._register(server, caller, None)
        else:
            owns = owned("mcp_server", caller.subject, request.key, request.fingerprint)
            kept = await once(
                owns,
                lambda: self._store.kept(caller.tenant, owns),
                lambda namespace: self._stood_for(caller.tenant, namespace),
                lambda: self._register(server, caller, owns),
            )
        return await self._linked(caller.tenant, kept, request)

    async def update(
        self,
        caller: Caller,
        namespace: str,
        new: Server,
        mask: Sequence[str],
        request: Request = ANY,
    ) -> Shown:
        """Replace fields of a server, and return when it was reached as it is now or could not
        be. What changes nothing is no change."""
        old = await self._found(caller, namespace)
        changed = server_changes.updated(old, new, mask)
        if changed != old:
            sv.check(changed)
            await self._check_allowed(changed)
            await self._store.change(caller.tenant, old, changed, self._now())
        return await self._linked(caller.tenant, changed, request)

    async def _register(self, server: Server, caller: Caller, key: Key | None) -> Server:
        await self._check_allowed(server)
        server = replace(server, owner=caller.subject, create_time=self._now())
        # One at a time: each sees those before it.
        async with self._adding:
            await self._add(caller.tenant, server, key)
        return server

    async def _add(self, tenant: str, server: Server, key: Key | None) -> None:
        """Keep a server, if there is room. Of those that others add meanwhile, too many leave."""
        most = self._rules.most
        held = await self._store.page(tenant, after="", limit=most)
        taken = {each.namespace for each in held}
        if len(held) >= most and server.namespace not in taken:
            raise _too_many(most)
        await self._store.add(tenant, server, key=key)
        held = await self._store.page(tenant, after="", limit=most + 1)
        if len(held) > most:
            await self._store.remove(tenant, server.namespace, self._now())
            raise _too_many(most)

    async def _stood_for(self, tenant: str, namespace: str) -> Server:
        """What an idempotency key stands for."""
        if (server := await self._store.find(tenant, namespace)) is None:
            raise _deleted(namespace)
        return server

    async def _linked(self, tenant: str, server: Server, request: Request) -> Shown:
        """The server, once it was reached or could not be."""
        self._links.hold(tenant, server)
        left = request.time_left
        wait = WAIT if left is None else min(WAIT, left * _SHARE)
        await self._links.settled(tenant, server.namespace, wait)
        return await self._shown(tenant, server)

    async def get(self, caller: Caller, namespace: str) -> Shown:
        """A server."""
        return await self._shown(caller.tenant, await self._found(caller, namespace))

    async def page(self, *, tenant: str, after: str, limit: int) -> Sequence[Shown]:
        """Some servers, by namespace."""
        page = await self._store.page(tenant, after=after, limit=limit)
        return [Shown(server, self._links.seen(tenant, server.namespace)) for server in page]

    async def refresh(self, caller: Caller, namespace: str) -> Shown:
        """Take a server's lists now."""
        server = await self._found(caller, namespace)
        self._links.hold(caller.tenant, server)
        await self._links.refresh(caller.tenant, namespace)
        return await self._shown(caller.tenant, server)

    async def delete(self, caller: Caller, namespace: str) -> None:
        """Let there be no such server, and none of its tools.

        If that was cut short after the server was gone, doing it again takes away the tools.
        """
        sv.check_namespace(namespace)
        try:
            await self._store.remove(caller.tenant, namespace, self._now())
        except NotFound:
            await self._registry.take_away(caller, source(namespace))
            raise
        self._links.drop(caller.tenant, namespace)
        await self._registry.take_away(caller, source(namespace))

    async def _found(self, caller: Caller, namespace: str) -> Server:
        sv.check_namespace(namespace)
        if (server := await self._store.find(caller.tenant, namespace)) is None:
            raise sv.missing(namespace)
        return server

    async def _check_allowed(self, server: Server) -> None:
        if server.command is None:
            try:
                await self._rules.check_url(server.url)
            except Unavailable:  # A name without an address may get one.
                return
            except FailedPrecondition as error:
                if error.reason != TARGET_REFUSED:
                    raise
                raise not_called(error, "server.url") from None
        elif not self._rules.has_commands:
            raise FailedPrecondition(
                "MCP_STDIO_OFF",
                "this registry starts no programs",
                field="server.command",
                suggested_fix="set TOOL_REGISTRY_MCP__STDIO=true, or register a url",
            )

    async def _shown(self, tenant: str, server: Server) -> Shown:
        seen = self._links.seen(tenant, server.namespace)
        if server.keeps_names:
            hidden = shadowed(await self._links.lists(tenant), server.namespace)
            skipped = (*seen.skipped, *islice(hidden, sv.MAX_SKIPPED))
            seen = replace(seen, skipped=skipped[: sv.MAX_SKIPPED])
        return Shown(server, seen)


class Importer:
    """See `Imports`: the tools of servers, in the registry."""

    def __init__(self, store: ServerStore, registry: Registry) -> None:
        self._store = store
        self._registry = registry

    async def take(self, tenant: str, server: Server, wanted: Sequence[Entry]) -> Brought | None:
        """See `Imports`.

        Another process may delete the server meanwhile. Whoever is last sees it: the deletion
        takes away what is there by then, and what comes later is taken away here. If another
        changes it, the link to what it is then brings its tools.
        """
        caller = Caller(tenant, server.owner)
        found = await self._store.find(tenant, server.namespace)
        if found == server:
            brought = await self._registry.bring(caller, source(server.namespace), wanted)
            found = await self._store.find(tenant, server.namespace)
            if found == server:
                return brought
        if found is None:
            await self._registry.take_away(caller, source(server.namespace))
        return None

    async def sweep(self, tenant: str) -> None:
        """See `Imports`. Whoever deletes a server takes its tools away; this is for those who died
        in between. Twice does no harm: of a tool that is gone nothing is taken away."""
        servers = await self._store.page(tenant, after="", limit=2 * sv.MAX_SERVERS)
        besides = [source(each.namespace) for each in servers]
        for stray in await self._registry.sources(tenant, besides):
            # It may have been registered since.
            if stray.startswith(_SOURCE) and not await follows(self._store, tenant, stray):
                log.info("tools of no mcp server are taken away", extra={"source": stray})
                await self._registry.take_away(Caller(tenant, ""), stray)


_SOURCE: Final = "mcp:"


def _too_many(most: int) -> ResourceExhausted:
    return ResourceExhausted(
        "TOO_MANY_SERVERS",
        f"there are {most} MCP servers already",
        limit=str(most),
        suggested_fix="delete one first",
    )


def _deleted(namespace: str) -> NotFound:
    return NotFound(
        "MCP_SERVER_NOT_FOUND",
        f"the idempotency key stands for the MCP server {namespace}, which was deleted",
        namespace=namespace,
        field="idempotency_key",
        suggested_fix="send another key to register it anew",
    )


def source(namespace: str) -> str:
    """What the tools of a server are kept under."""
    return f"{_SOURCE}{namespace}"


async def follows(store: ServerStore, tenant: str, source: str) -> bool:
    """See `Follows`."""
    namespace = source.removeprefix(_SOURCE)
    return namespace != source and await store.find(tenant, namespace) is not None
