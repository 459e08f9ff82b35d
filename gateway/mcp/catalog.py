"""The tools of each tenant as MCP shows them, for a moment.

Lists are as new as `FRESH` says. A call only needs to know what kind of tool it calls: for that an
older list does, while the next is fetched.
"""

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import chain
from typing import Any, Final

from gateway.mcp.offers import Offer, of_agents, of_tools
from gateway.mcp.refusals import Refused
from gateway.mcp.rpc import Caller, Rpc, Services
from gateway.traffic import Traffic

log = logging.getLogger(__name__)

FRESH: Final = 1.0
STALE: Final = 60.0
MAX_TENANTS: Final = 256
MAX_OFFERS: Final = 20_000
_PAGE: Final = 1_000
_KEPT: Final = 64
_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list, as it came."""

    raw: bytes
    token: str
    """Asks for the next; empty on the last."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """What there was at a time."""

    lists: tuple[Sequence[Page], Sequence[Page]]
    """What the services answered: of tools, and of agents."""
    offers: dict[str, Offer]
    """By name, in order."""
    _kept: dict[Hashable, Any] = field(default_factory=dict)

    def kept(self, key: Hashable, made: Callable[[], Any]) -> Any:
        """What is made of the list, made once. What nobody should ask for is not kept."""
        if key not in self._kept:
            value = made()
            if len(self._kept) > _KEPT:
                return value
            self._kept[key] = value
        return self._kept[key]

    @property
    def digest(self) -> str:
        """The same for the same list."""
        return str(self.kept("digest", self._digest))

    def _digest(self) -> str:
        wires = [each.wire for each in self.offers.values()]
        return sha256(json.dumps(wires, sort_keys=True).encode()).hexdigest()


@dataclass(slots=True)
class _Shelf:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    snapshot: Snapshot | None = None
    time: float = float("-inf")
    is_refreshing: bool = False


class Catalog:
    """Snapshots by tenant, those used last."""

    def __init__(self, services: Services, traffic: Traffic) -> None:
        self._tools = services["ToolRegistryService/ListTools"]
        self._agents = services["AgentService/ListAgents"]
        self._traffic = traffic
        self._loop = asyncio.get_running_loop()
        self._shelves: OrderedDict[str, _Shelf] = OrderedDict()

    async def fresh(self, caller: Caller, within: float | None = None) -> Snapshot:
        """The list as it is, or was so many seconds ago; `FRESH` unless it is said.

        Raises:
            Refused: a service cannot say.
        """
        shelf = self._shelf(caller.tenant)
        async with shelf.lock:
            age = self._loop.time() - shelf.time
            if shelf.snapshot is None or age > (FRESH if within is None else within):
                begun = self._loop.time()
                shelf.snapshot = await self._loaded(caller, shelf.snapshot)
                shelf.time = begun
            return shelf.snapshot

    async def known(self, caller: Caller) -> Snapshot:
        """The list as far as it is known; it is asked for when nothing is. Raises as `fresh`."""
        shelf = self._shelf(caller.tenant)
        age = self._loop.time() - shelf.time
        if shelf.snapshot is None or age > STALE:
            return await self.fresh(caller)
        if age > FRESH and not shelf.is_refreshing:
            shelf.is_refreshing = True
            self._traffic.tasks.create_task(self._refresh(replace(caller, receive=None), shelf))
        return shelf.snapshot

    def at_hand(self, tenant: str) -> Snapshot | None:
        """What is known without asking."""
        shelf = self._shelves.get(tenant)
        return shelf.snapshot if shelf else None

    async def _refresh(self, caller: Caller, shelf: _Shelf) -> None:
        try:
            with suppress(Refused):  # Who needs it will ask, and hear why not.
                await self.fresh(caller)
        finally:
            shelf.is_refreshing = False

    def _shelf(self, tenant: str) -> _Shelf:
        if (shelf := self._shelves.get(tenant)) is None:
            shelf = self._shelves[tenant] = _Shelf()
            if len(self._shelves) > MAX_TENANTS:
                self._shelves.popitem(last=False)
        self._shelves.move_to_end(tenant)
        return shelf

    async def _loaded(self, caller: Caller, before: Snapshot | None) -> Snapshot:
        """The list as it is: the same snapshot where the services say what they said before."""
        known = before.lists if before is not None else ((), ())
        lists = (
            await _listed(self._tools, caller, known[0]),
            await _listed(self._agents, caller, known[1]),
        )
        if before is not None and lists == known:
            return before
        offers = chain(
            of_tools(_items(self._tools, lists[0], "tools")),
            of_agents(_items(self._agents, lists[1], "agents")),
        )
        return Snapshot(
            lists, {each.name: each for each in sorted(offers, key=lambda each: each.name)}
        )


async def _listed(rpc: Rpc, caller: Caller, before: Sequence[Page]) -> Sequence[Page]:
    """All pages of a list. What came before once more is not read again."""
    request: dict[str, Any] = {"page_size": _PAGE}
    pages: list[Page] = []
    for number in range(MAX_OFFERS // _PAGE):
        raw = await rpc.raw(caller, request, seconds=_SECONDS)
        is_known = number < len(before) and before[number].raw == raw
        token = before[number].token if is_known else rpc.parsed(raw)["next_page_token"]
        pages.append(Page(raw, token))
        if not token:
            return tuple(pages)
        request["page_token"] = token
    log.warning("more tools than are offered", extra={"offered": MAX_OFFERS})
    return tuple(pages)


def _items(rpc: Rpc, pages: Sequence[Page], name: str) -> list[dict[str, Any]]:
    return [item for page in pages for item in rpc.parsed(page.raw)[name]]
