"""What is known of tenants' tools: catalogues for some seconds, single versions for longer."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

from runplane.tool_registry.v1 import tool_registry_pb2 as pb

from services.chassis import structs
from services.orchestrator.adapters.cached import Cached
from services.orchestrator.domain.catalogue import Catalogue, catalogue
from services.orchestrator.domain.tool import Example, Tool

_TENANTS: Final = 256  # Whose catalogues are kept.
_VERSIONS: Final = 4096  # Of all tenants.
_LASTING_SECONDS: Final = 60.0  # A version never changes; whether it needs an approval may.

ListOffered = Callable[[], Awaitable[Sequence[pb.Tool]]]
Get = Callable[[str, str], Awaitable[pb.Tool]]


class KnownTools:
    """Keeps what was asked for lately. `list_offered` and `get` ask for the tenant that this is
    asked for."""

    def __init__(self, list_offered: ListOffered, get: Get, ttl: timedelta) -> None:
        self._list_offered = list_offered
        self._get = get
        self._ttl = ttl
        self._catalogues: OrderedDict[str, Cached[Catalogue]] = OrderedDict()
        self._versions: OrderedDict[tuple[str, str, str], tuple[Tool, float]] = OrderedDict()
        self._tools: WeakValueDictionary[bytes, Tool] = WeakValueDictionary()

    async def catalogue(self, tenant: str) -> Catalogue:
        """What is offered to a task of a tenant that names no tools."""
        if (known := self._catalogues.get(tenant)) is None:
            known = self._catalogues[tenant] = Cached(partial(self._fetch, tenant), self._ttl)
            if len(self._catalogues) > _TENANTS:
                self._catalogues.popitem(last=False)
        self._catalogues.move_to_end(tenant)
        return await known.get()

    async def find(self, tenant: str, name: str, version: str) -> Tool:
        """A version of a tool, or the newest that a range allows."""
        asked_at = asyncio.get_running_loop().time()
        key = (tenant, name, version)
        if (kept := self._versions.get(key)) is not None and asked_at < kept[1]:
            self._versions.move_to_end(key)
            return kept[0]
        tool = self._known(await self._get(name, version))
        self._keep(tenant, tool, asked_at)
        if version != tool.version:
            self._put(key, tool, asked_at + self._ttl.total_seconds())
        return tool

    def _keep(self, tenant: str, tool: Tool, asked_at: float) -> None:
        self._put((tenant, tool.name, tool.version), tool, asked_at + _LASTING_SECONDS)

    def _put(self, key: tuple[str, str, str], tool: Tool, until: float) -> None:
        self._versions[key] = tool, until
        self._versions.move_to_end(key)
        if len(self._versions) > _VERSIONS:
            self._versions.popitem(last=False)

    async def _fetch(self, tenant: str) -> Catalogue:
        """The versions that are offered will be asked for when tasks go on."""
        asked_at = asyncio.get_running_loop().time()
        made = catalogue(map(self._known, await self._list_offered()))
        for tool in made.offered.values():
            self._keep(tenant, tool, asked_at)
        return made

    def _known(self, message: pb.Tool) -> Tool:
        """The same object for the same tool: what is derived from it can be kept."""
        message.ClearField("unavailable")
        message.ClearField("circuit")
        key = message.SerializeToString(deterministic=True)
        if (tool := self._tools.get(key)) is None:
            tool = self._tools[key] = _tool(message)
        return tool


def _tool(message: pb.Tool) -> Tool:
    return Tool(
        name=message.name,
        version=message.version,
        description=message.description,
        input_schema=structs.to_dict(message.input_schema),
        examples=[
            Example(each.query, structs.to_dict(each.input), structs.to_value(each.output))
            for each in message.examples
        ],
        timeout_ms=message.timeout_ms,
        is_idempotent=message.is_idempotent,
        requires_approval=message.requires_approval,
        is_client=message.kind == pb.TOOL_KIND_CLIENT,
        is_builtin=message.kind == pb.TOOL_KIND_BUILTIN,
        is_deprecated=message.state == pb.TOOL_STATE_DEPRECATED,
        deprecation=message.deprecation,
        reports_progress=message.reports_progress,
    )
