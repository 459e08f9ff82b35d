"""All links of this process: to the servers of those tenants that use any."""

import asyncio
import logging
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from services.chassis.errors import ServiceError
from services.tool_registry.adapters.mcp.bounds import MAX_LINKS
from services.tool_registry.adapters.mcp.link import Kit, Link
from services.tool_registry.adapters.mcp.outside import Outside
from services.tool_registry.domain.server import (
    MAX_SERVERS,
    Asking,
    Lists,
    Reply,
    Seen,
    Server,
    State,
    Suggestions,
    unavailable,
)
from services.tool_registry.ports import Imports, ServerStore

if TYPE_CHECKING:
    from services.tool_registry.adapters.mcp.conversation import Conversation

log = logging.getLogger(__name__)

T = TypeVar("T")
_AT_START: Final = "default"
"""The tenant whose servers are linked before anybody asks."""
_REASON: Final = "MCP_SERVER_UNAVAILABLE"
_FIRST_SECONDS: Final = 3.0
"""How old a link is, at most, for a list to wait for its first answer."""
_OTHERS_SECONDS: Final = 0.3
"""How long a list waits for some servers where others have answered."""


@dataclass(frozen=True, slots=True)
class _Held:
    link: Link
    task: asyncio.Task[None]


class McpLinks:
    """See `Links`. The store has the truth; what else a process holds is made to fit it."""

    def __init__(
        self,
        store: ServerStore,
        outside: Outside,
        now: Callable[[], datetime],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._outside = outside
        self._now = now
        self._chance = chance
        self._held: dict[tuple[str, str], _Held] = {}
        self._tenants = {_AT_START}
        self._swept: dict[str, float] = {}
        self._news = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._kit: Kit | None = None
        self._changes = 0

    @asynccontextmanager
    async def open(self, imports: Imports) -> AsyncIterator[None]:
        """Hold links until the context is left. `imports` is where their tools go."""
        self._kit = Kit(self._outside, imports, self._now, self._chance, self._news.set)
        async with asyncio.TaskGroup() as group:
            self._group = group
            looking = group.create_task(self._look(imports))
            try:
                yield
            finally:
                self._group = None
                looking.cancel()
                for tenant, namespace in list(self._held):
                    self.drop(tenant, namespace)

    def hold(self, tenant: str, server: Server) -> None:
        """See `Links`."""
        key = tenant, server.namespace
        held = self._held.get(key)
        if self._group is None or self._kit is None or (held and held.link.holds(server)):
            return
        if held is None and len(self._held) >= MAX_LINKS:
            log.error("too many mcp links", extra={"tenant": tenant})
            return
        self.drop(*key)
        self._changes += 1
        self._tenants.add(tenant)
        link = Link(tenant, server, self._kit)
        self._held[key] = _Held(link, self._group.create_task(link.run()))

    def drop(self, tenant: str, namespace: str) -> None:
        """See `Links`."""
        self._changes += 1
        if (held := self._held.pop((tenant, namespace), None)) is not None:
            held.link.close()
            held.task.cancel()

    def seen(self, tenant: str, namespace: str) -> Seen:
        """See `Links`."""
        if (held := self._held.get((tenant, namespace))) is not None:
            return held.link.seen
        self.meet(tenant)
        return Seen()

    def meet(self, tenant: str) -> None:
        """Have links to a tenant's servers soon."""
        if tenant not in self._tenants:
            self._tenants.add(tenant)
            self._news.set()

    async def settled(self, tenant: str, namespace: str, within: timedelta) -> None:
        """See `Links`."""
        if (held := self._held.get((tenant, namespace))) is not None:
            await _settled([held.link], within.total_seconds())

    async def refresh(self, tenant: str, namespace: str) -> None:
        """See `Links`."""
        await (await self._link(tenant, namespace, _REASON)).refresh()

    async def lists(self, tenant: str) -> Mapping[str, tuple[Server, Lists]]:
        """See `Links`."""
        await self._reconcile(tenant)
        links = [self._held[key].link for key in sorted(self._held) if key[0] == tenant]
        await _begun(links)
        return {link.server.namespace: (link.server, link.lists) for link in links}

    async def matching(self, tenant: str, uri: str) -> str | None:
        """See `Links`."""
        links = [self._held[key].link for key in sorted(self._held) if key[0] == tenant]
        for link in sorted(links, key=lambda link: link.seen.state is not State.CONNECTED):
            await asyncio.sleep(0)  # A thousand templates take some 20 ms.
            if link.lists.templates:
                from services.tool_registry.adapters.mcp import sdk  # noqa: PLC0415 - loaded

                if any(sdk.fits(template, uri) for template in link.lists.templates):
                    return link.server.namespace
        return None

    async def ask(
        self,
        tenant: str,
        namespace: str,
        question: "Callable[[Conversation], Awaitable[T]]",
        *,
        reason: str = _REASON,
    ) -> T:
        """Ask a server something. Raises Unavailable, with this reason."""
        link = await self._link(tenant, namespace, reason)
        return await link.ask(question, reason=reason)

    async def read(self, tenant: str, namespace: str, uri: str, asking: Asking) -> Reply:
        """See `Links`."""

        async def question(session: "Conversation") -> Reply:
            return await session.read(namespace, uri, asking)

        return await self.ask(tenant, namespace, question)

    async def prompt(
        self,
        tenant: str,
        namespace: str,
        name: str,
        arguments: Mapping[str, str],
        asking: Asking,
    ) -> Reply:
        """See `Links`."""

        async def question(session: "Conversation") -> Reply:
            return await session.prompt(namespace, name, arguments, asking)

        return await self.ask(tenant, namespace, question)

    async def complete(
        self,
        tenant: str,
        namespace: str,
        reference: Mapping[str, str],
        argument: tuple[str, str],
        context: Mapping[str, str],
    ) -> Suggestions:
        """See `Links`."""

        async def question(session: "Conversation") -> Suggestions:
            return await session.complete(namespace, reference, argument, context)

        return await self.ask(tenant, namespace, question)

    async def _link(self, tenant: str, namespace: str, reason: str) -> Link:
        """A link to a server, which another process may have registered just now."""
        if (tenant, namespace) not in self._held:
            await self._reconcile(tenant)
        if (held := self._held.get((tenant, namespace))) is None:
            raise unavailable(namespace, "it is registered no more", reason=reason)
        return held.link

    async def _look(self, imports: Imports) -> None:
        """See what other processes registered and deleted, and now and then what they left."""
        while True:
            self._news.clear()
            for tenant in sorted(self._tenants):
                try:
                    await self._reconcile(tenant)
                    await self._sweep(tenant, imports)
                except ServiceError as error:
                    log.warning("mcp servers are not known", extra={"reason": error.reason})
                except Exception:  # Whatever is stored there, other tenants have their links.
                    log.exception("mcp servers cannot be read", extra={"tenant": tenant})
            try:
                async with asyncio.timeout(self._outside.bounds.look_seconds):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def _sweep(self, tenant: str, imports: Imports) -> None:
        """Have the tools of deleted servers taken away, if it is time."""
        now = asyncio.get_running_loop().time()
        if now < self._swept.get(tenant, -math.inf) + self._outside.bounds.sweep_seconds:
            return
        await imports.sweep(tenant)
        self._swept[tenant] = now
        if tenant not in self._tenants:
            del self._swept[tenant]  # It has no servers, and is met anew when it uses any.

    async def _reconcile(self, tenant: str) -> None:
        while True:
            before = self._changes
            registered = await self._store.page(tenant, after="", limit=2 * MAX_SERVERS)
            if before == self._changes:  # Else this may be what was before.
                break
        names = {server.namespace for server in registered}
        for server in registered:
            self.hold(tenant, server)
        for _, namespace in [key for key in self._held if key[0] == tenant]:
            if namespace not in names:
                self.drop(tenant, namespace)
        if not names and tenant != _AT_START:
            self._tenants.discard(tenant)


async def _begun(links: list[Link]) -> None:
    """Wait for those that were just begun; not for one that has had its time and says nothing."""
    now = asyncio.get_running_loop().time()
    fresh = {link: link.since + _FIRST_SECONDS - now for link in links if link.is_first_try}
    has_others = any(not link.is_first_try for link in links)
    seconds = min(max(fresh.values(), default=0.0), _OTHERS_SECONDS if has_others else math.inf)
    if seconds > 0:
        await _settled([link for link, left in fresh.items() if left > 0], seconds)


async def _settled(links: list[Link], seconds: float) -> None:
    """Wait for those that are tried for the first time."""
    waiting = [link for link in links if link.seen.state is State.CONNECTING]
    if not waiting:
        return
    try:
        async with asyncio.timeout(seconds):
            for link in waiting:
                await link.settled()
    except TimeoutError:
        return
