"""What a server has, as much of it as can be taken."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.struct_pb2 import Struct
from mcp.shared.exceptions import MCPError
from mcp_types import METHOD_NOT_FOUND, PaginatedRequestParams
from pydantic import BaseModel

from services.chassis import structs
from services.chassis.errors import InvalidArgument
from services.tool_registry.adapters.mcp.bounds import (
    ITEM_BYTES,
    LISTS_SECONDS,
    MAX_ITEMS,
    MAX_PAGES,
    TTL_MOST,
    TTL_UNSAID,
    cut,
)
from services.tool_registry.adapters.mcp.entries import Refused, entry, served_on
from services.tool_registry.adapters.mcp.session import Session
from services.tool_registry.domain.server import Item, Lists, Server
from services.tool_registry.domain.size import is_large
from services.tool_registry.domain.tool import Entry

_LAST: Final = "it was the last page"
_MAX_PROMPT: Final = 128
_MAX_URI: Final = 2048


@dataclass(frozen=True, slots=True)
class Taken:
    """What a server said that it has."""

    entries: Sequence[Entry]
    lists: Lists
    skipped: Sequence[str]
    ttl_seconds: float


_Ask = Callable[..., Awaitable[Any]]  # One for each kind of list; the SDK has no type for it.


async def taken(server: Server, session: Session) -> Taken:
    """Take all lists that the server says it has.

    Raises:
        TimeoutError: that takes too long.
        MCPError, ValidationError: the server's fault.
    """
    async with asyncio.timeout(LISTS_SECONDS):
        return await _Taking(server, session).all()


@dataclass
class _Taking:
    server: Server
    session: Session
    skipped: list[str] = field(default_factory=list)
    ttls: list[float] = field(default_factory=list)

    async def all(self) -> Taken:
        has, client = self.session.capabilities, self.session.client
        tools = await self._items(client.list_tools, "tools") if has.tools else []
        entries = await self._entries(tools)
        resources: Mapping[str, Item] = {}
        templates: Mapping[str, Item] = {}
        prompts: Mapping[str, Item] = {}
        if has.resources:
            found = await self._items(client.list_resources, "resources")
            resources = await self._kept("resource", ((each.uri, each) for each in found), _MAX_URI)
            found = await self._items(client.list_resource_templates, "resource_templates")
            named = ((each.uri_template, each) for each in found)
            templates = await self._kept("template", named, _MAX_URI)
        if has.prompts:
            found = await self._items(client.list_prompts, "prompts")
            prompts = await self._kept("prompt", ((each.name, each) for each in found), _MAX_PROMPT)
        return Taken(entries, Lists(resources, templates, prompts), self.skipped, self._ttl())

    async def _items(self, ask: _Ask, field_name: str) -> list[Any]:
        """All pages of a list. A server without this list has an empty one."""
        items: list[Any] = []
        cursor: str | None = None
        seen: set[str] = set()
        for _ in range(MAX_PAGES):
            try:
                page = await ask(params=PaginatedRequestParams(cursor=cursor))
            except MCPError as error:
                if error.code == METHOD_NOT_FOUND:
                    return items
                raise
            self.skipped += self.session.dispatch.notes()
            items += getattr(page, field_name)
            if "ttl_ms" in page.model_fields_set:
                self.ttls.append(page.ttl_ms / 1000)
            cursor = page.next_cursor
            if why := _end(cursor, seen, len(items)):
                break
            seen.add(cursor or "")
        else:
            why = f"at most {MAX_PAGES} pages are taken"
        if why != _LAST:
            self.skipped.append(f"more {field_name}: {why}")
        return items[:MAX_ITEMS]

    async def _entries(self, tools: Iterable[Any]) -> list[Entry]:
        found: dict[str, Entry] = {}
        for tool in tools:
            await asyncio.sleep(0)  # Schemas are compiled: others get their turn in between.
            try:
                made = entry(self.server, tool)
            except Refused as refused:
                self.skipped.append(f"tool {cut(tool.name, 80)}: {refused}")
                continue
            if made.definition.name in found:
                self.skipped.append(f"tool {tool.name}: the server has two of this name")
                continue
            found[made.definition.name] = made
        return list(found.values())

    async def _kept(
        self, what: str, named: Iterable[tuple[str, BaseModel]], most: int
    ) -> Mapping[str, Item]:
        found: dict[str, Item] = {}
        for name, model in named:
            await asyncio.sleep(0)  # As of tools.
            item = model.model_dump(mode="json", by_alias=True, exclude_none=True)
            if problem := served_on(item.get("_meta")) or _problem(name, item, most):
                self.skipped.append(f"{what} {cut(name, 80)}: {problem}")
            elif name in found:
                self.skipped.append(f"{what} {cut(name, 80)}: the server has two of it")
            else:
                found[name] = item
        return found

    def _ttl(self) -> float:
        """How long the lists are good. A server that tells of changes need not be asked all the
        time, though it may say so: SDKs say 0 unless they are told otherwise."""
        said = [ttl for ttl in self.ttls if ttl > 0 or not self.session.hears_changes]
        least = self.session.dispatch.bounds.ttl_least
        return min(max(min(said, default=TTL_UNSAID), least), TTL_MOST)


def _end(cursor: str | None, seen: Set[str], count: int) -> str:
    """Why a list ends here; empty if it goes on."""
    if count > MAX_ITEMS or (cursor and count == MAX_ITEMS):
        return f"at most {MAX_ITEMS} are taken"
    if not cursor:
        return _LAST
    return "the list's pages go in circles" if cursor in seen else ""


def _problem(name: str, item: Item, most: int) -> str:
    if not 0 < len(name) <= most or not name.isprintable():
        return f"its name is not one of 1 to {most} characters"
    if is_large(item):  # Which takes a while to be found out by packing it.
        return f"it has more than {ITEM_BYTES:,} bytes"
    packed = Struct()
    try:
        structs.from_dict(item, packed)
    except InvalidArgument as error:
        return f"it is not JSON that everybody reads: {cut(error.message, 200)}"
    if packed.ByteSize() > ITEM_BYTES:
        return f"it has more than {ITEM_BYTES:,} bytes"
    return ""
