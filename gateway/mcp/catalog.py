"""The tools of each tenant as MCP shows them, for a moment.

Lists are as new as `list_ttl` says, at each edge by itself: nobody tells edges of changes. A call
only needs to know what kind of tool it calls: for that an older list does; from `call_ttl` on the
next one is fetched meanwhile, and waited for when it is twelve times as old. A tool that is not in
the list is asked for by its name.

Of a list that is too long to be read, built-in tools are shown at any rate. What is made of lists
is made in threads, as it may be large.
"""

import asyncio
import json
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from itertools import chain
from typing import Any, Final

from gateway.mcp.offers import Offer, agent_of, of_agents, of_tools
from gateway.mcp.pages import Page, is_cut, items, listed
from gateway.mcp.refusals import Refused
from gateway.mcp.rpc import Caller, Services
from gateway.settings import McpSettings
from gateway.traffic import Traffic
from services.chassis.lately import Lately

MAX_TENANTS: Final = 64
_KEPT: Final = 64
_SECONDS: Final = 10.0
_BUILTIN: Final = "kind = builtin"
_TOO_OLD: Final = 12
"""How many times `call_ttl`."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """What there was at a time."""

    lists: tuple[Sequence[Page], ...]
    """What the services answered: of tools, of built-in ones if those were too many, of agents."""
    offers: dict[str, Offer]
    """By name, in order."""
    _kept: dict[Hashable, Any] = field(default_factory=dict)
    _making: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def kept(self, key: Hashable, made: Callable[[], Any]) -> Any:
        """What is made of the list, made once. What nobody should ask for is not kept."""
        if key not in self._kept:
            async with self._making:  # Who asks for the same meanwhile waits for it.
                if key not in self._kept:
                    value = await asyncio.to_thread(made)
                    if len(self._kept) > _KEPT:
                        return value
                    self._kept[key] = value
        return self._kept[key]

    async def digest(self) -> str:
        """The same for the same list."""
        made = partial(digest, (each.wire for each in self.offers.values()))
        return str(await self.kept("digest", made))


@dataclass(slots=True)
class _Shelf:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    snapshot: Snapshot | None = None
    time: float = float("-inf")
    is_refreshing: bool = False


class Catalog:
    """Snapshots by tenant, those used last."""

    def __init__(self, services: Services, traffic: Traffic, settings: McpSettings) -> None:
        self._list_ttl = settings.list_ttl.total_seconds()
        self._call_ttl = settings.call_ttl.total_seconds()
        self._tool = services["ToolRegistryService/GetTool"]
        self._tools = services["ToolRegistryService/ListTools"]
        self._agents = services["AgentService/ListAgents"]
        self._traffic = traffic
        self._loop = asyncio.get_running_loop()
        self._shelves: Lately[str, _Shelf] = Lately(MAX_TENANTS)

    async def fresh(self, caller: Caller, within: float | None = None) -> Snapshot:
        """The list as it is, or was so many seconds ago; `list_ttl` unless it is said.

        Raises:
            Refused: a service cannot say.
        """
        shelf = self._shelf(caller.tenant)
        async with shelf.lock:
            age = self._loop.time() - shelf.time
            if shelf.snapshot is None or age > (self._list_ttl if within is None else within):
                begun = self._loop.time()
                shelf.snapshot = await self._loaded(caller, shelf.snapshot)
                shelf.time = begun
            return shelf.snapshot

    async def prepare(self, caller: Caller, name: str) -> None:
        """Have at hand what a call of this tool needs. Its headers are compared with the list as it
        is: at another edge the caller may have seen a newer one than was called by here."""
        shelf = self._shelf(caller.tenant)
        age = self._loop.time() - shelf.time
        offer = self.at_hand(caller.tenant, name)
        has_headers = offer is not None and offer.has_headers
        if shelf.snapshot is None or age > self._call_ttl * _TOO_OLD or has_headers:
            with suppress(Refused):  # Calls need no list: the registry knows what it has.
                await self.fresh(caller)
        elif age > self._call_ttl and not shelf.is_refreshing:
            shelf.is_refreshing = True
            self._traffic.tasks.create_task(self._refresh(replace(caller, receive=None), shelf))

    def at_hand(self, tenant: str, name: str) -> Offer | None:
        """What is known of a tool without client."""
        shelf = self._shelves.get(tenant)
        return shelf.snapshot.offers.get(name) if shelf and shelf.snapshot else None

    async def offer(self, caller: Caller, name: str) -> Offer | None:
        """What is known of a tool; the registry is asked for one that is in no list yet."""
        if (known := self.at_hand(caller.tenant, name)) is not None or agent_of(name):
            return known
        with suppress(Refused):
            tool = await self._tool(caller, {"name": name}, seconds=_SECONDS)
            return next(iter(of_tools([tool])), None)
        return None

    async def _refresh(self, caller: Caller, shelf: _Shelf) -> None:
        try:
            with suppress(Refused):  # Who needs it will ask, and hear why not.
                await self.fresh(caller)
        finally:
            shelf.is_refreshing = False

    def _shelf(self, tenant: str) -> _Shelf:
        return self._shelves.get(tenant) or self._shelves.put(tenant, _Shelf())

    async def _loaded(self, caller: Caller, before: Snapshot | None) -> Snapshot:
        """The list as it is; what was made of the one before is kept where they show the same."""
        known = before.lists if before is not None else ((), (), ())
        tools = await listed(self._tools, "tools", caller, known[0])
        builtin: Sequence[Page] = ()
        if is_cut(tools):
            builtin = await listed(self._tools, "tools", caller, known[1], _BUILTIN)
        agents = await listed(self._agents, "agents", caller, known[2])
        lists = (tools, builtin, agents)
        if before is not None and lists == known:
            return before
        return await asyncio.to_thread(self._made, lists, before)

    def _made(self, lists: tuple[Sequence[Page], ...], before: Snapshot | None) -> Snapshot:
        tools, builtin, agents = lists
        found = chain(
            of_tools(items(self._tools, (*tools, *builtin), "tools")),
            of_agents(items(self._agents, agents, "agents")),
        )
        offers = {each.name: each for each in sorted(found, key=lambda each: each.name)}
        if before is not None and offers == before.offers:  # What is not shown has changed.
            return replace(before, lists=lists)
        return Snapshot(lists, offers)


def digest(values: Iterable[Any]) -> str:
    """The same for the same JSON. One value after the other: meanwhile others can go on."""
    found = sha256()
    for each in values:
        found.update(json.dumps(each, sort_keys=True).encode() + b"\n")
    return found.hexdigest()
