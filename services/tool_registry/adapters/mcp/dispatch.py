"""What goes to a server and comes back, before and after the SDK sees it.

Here the caller's capabilities go into a request, secrets come out of what is answered, and an item
of a list that is not as MCP has it is left out instead of the whole list.
"""

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final

from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import find_invalid_x_mcp_header
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    PARSE_ERROR,
    PROTOCOL_VERSION_META_KEY,
    RequestId,
)
from mcp_types import methods as wire
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from services.chassis.egress.secrets import Scrub
from services.tool_registry.adapters.mcp.bounds import (
    MAX_FAULTS,
    MAX_ITEMS,
    NOTES,
    TOO_LARGE,
    Bounds,
    cut,
)
from services.tool_registry.domain.size import is_large

offered: ContextVar[Mapping[str, object] | None] = ContextVar("mcp_offered", default=None)
"""What the caller of a request can be asked for; None: what the session says."""

_ITEMS: Final = {
    "tools/list": ("tools", "tool"),
    "resources/list": ("resources", "resource"),
    "resources/templates/list": ("resourceTemplates", "template"),
    "prompts/list": ("prompts", "prompt"),
}
_BESIDE: Final = ("resultType", "ttlMs", "cacheScope", "nextCursor")
"""What of a page is looked at beside its items."""
_ALONE: Final = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
"""A page that is valid, to judge one item by: a page of its own may be large."""


class AnswerTooLarge(MCPError):
    """An answer was not read to its end."""


class Dispatch(JSONRPCDispatcher):
    """The SDK's dispatcher for one server."""

    def __init__(self, read: Any, write: Any, scrub: Scrub, bounds: Bounds) -> None:
        """`read` and `write` are streams of the SDK's own."""
        super().__init__(read, write)
        self.scrub = scrub
        self.bounds = bounds
        self._notes: list[str] = []
        self.version = ""
        """The protocol that was agreed on; empty before that."""

    def notes(self) -> list[str]:
        """What of the lists since the last time could not be taken, and why."""
        taken, self._notes = self._notes, []
        return taken

    async def send_raw_request(
        self,
        method: str,
        params: Mapping[str, Any] | None,
        opts: CallOptions | None = None,
        *,
        _related_request_id: RequestId | None = None,
    ) -> dict[str, Any]:
        """See the SDK."""
        if method == "server/discover":
            opts = {**(opts or {}), "timeout": self.bounds.discover_seconds}
        sent = _with_capabilities(params)
        try:
            raw = await super().send_raw_request(
                method, sent, opts, _related_request_id=_related_request_id
            )
        except MCPError as error:
            if TOO_LARGE in error.message:
                rest = error.message.partition(TOO_LARGE)[2]
                raise AnswerTooLarge(error.code, f"the answer has more than{rest}") from None
            # What else the error says (`data`) is for whoever agrees on a version.
            raise MCPError(error.code, self.scrub.text(error.message), error.data) from None
        answer = await self._scrubbed(raw)
        return await self._tidy(method, answer) if method in _ITEMS else answer

    async def _scrubbed(self, raw: dict[str, Any]) -> dict[str, Any]:
        try:
            if self.scrub.forms and is_large(raw):
                scrubbed = await asyncio.to_thread(self.scrub.value, raw)
            else:
                scrubbed = self.scrub.value(raw)
        except ValueError:
            raise MCPError(PARSE_ERROR, "the answer is nested too deep") from None
        return scrubbed if isinstance(scrubbed, dict) else {}

    async def _tidy(self, method: str, page: dict[str, Any]) -> dict[str, Any]:
        """A page of a list with the items that are what they have to be, and nothing beside."""
        name, what = _ITEMS[method]
        items = page.get(name)
        page = {each: page[each] for each in _BESIDE if each in page}
        if not isinstance(items, list):
            return page
        if len(items) > MAX_ITEMS:
            self._note(f"{len(items) - MAX_ITEMS} {what}s: a list has at most {MAX_ITEMS}")
        kept: list[Any] = []
        faults = 0
        for item in items[:MAX_ITEMS]:
            await asyncio.sleep(0)  # Others get their turn in between.
            if self._is_kept(method, item):
                kept.append(item)
            elif (faults := faults + 1) == MAX_FAULTS:
                self._note(f"more {what}s: {MAX_FAULTS} before them are not what MCP has")
                break
        return {**page, name: kept}

    def _is_kept(self, method: str, item: object) -> bool:
        name, what = _ITEMS[method]
        if not self._is_valid(method, {**_ALONE, name: [item]}):
            self._note(f"{what} {_called(item)}: it is not what MCP has")
            return False
        is_modern = self.version in MODERN_PROTOCOL_VERSIONS
        return not (method == "tools/list" and is_modern) or self._has_headers(item)

    def _is_valid(self, method: str, page: dict[str, Any]) -> bool:
        try:
            wire.validate_server_result(method, self.version or "2025-11-25", page)
        except ValidationError:
            return False
        return True

    def _has_headers(self, item: Any) -> bool:
        if (reason := find_invalid_x_mcp_header(item.get("inputSchema", {}))) is None:
            return True
        self._note(f"tool {_called(item)}: x-mcp-header: {cut(reason, 200)}")
        return False

    def _note(self, note: str) -> None:
        if len(self._notes) < NOTES:
            self._notes.append(note)


def _called(item: object) -> str:
    name = item.get("name") if isinstance(item, dict) else None
    return cut(name, 80) if isinstance(name, str) and name else "without a name"


def _with_capabilities(params: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Since 2026-07-28 every request says what the client can be asked for. The SDK says the same
    in each request of a session; callers differ."""
    capabilities = offered.get()
    meta = (params or {}).get("_meta")
    if params is None or capabilities is None or not isinstance(meta, Mapping):
        return params
    if PROTOCOL_VERSION_META_KEY not in meta:
        return params
    return {**params, "_meta": {**meta, CLIENT_CAPABILITIES_META_KEY: capabilities}}
