"""`tools/list` and `tools/call`."""

import logging
from bisect import bisect_right
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any, Final, Protocol

from mcp.shared.exceptions import MCPError
from mcp_types import PaginatedRequestParams
from mcp_types.methods import serialize_server_result
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from gateway.mcp import client, results
from gateway.mcp.agents import Agents
from gateway.mcp.asking import Asking
from gateway.mcp.catalog import Catalog, Snapshot
from gateway.mcp.client import Context
from gateway.mcp.cursors import Cursors
from gateway.mcp.offers import Offer, agent_of
from gateway.mcp.refusals import Refused
from gateway.mcp.rpc import Caller, Reply, Services
from gateway.mcp.tasks import Tasks

log = logging.getLogger(__name__)

Wire = dict[str, Any]

PAGE: Final = 1_000
PAGE_BYTES: Final = 1024 * 1024
TTL_MS: Final = 5_000
LIST: Final = "tools/list"
_UNKNOWN: Final = Offer("", {})
# Refusals that the model can do something about: it is shown them as what the tool said.
_TOLD: Final = frozenset({"TOOL_INPUT_INVALID", "TOOL_TIMEOUT", "TOOL_RESULT_TOO_LARGE"})
_TOLD_IF_KNOWN: Final = frozenset({"INVALID_REQUEST"})  # Else it is the name that is wrong.
_INPUT_NEEDED: Final = "INPUT_NOT_OFFERED"
_NOT_OFFERED: Final = "METHOD_NOT_IMPLEMENTED"


class Call(Protocol):
    """What is to be called."""

    @property
    def name(self) -> str:
        """The tool's name."""

    @property
    def arguments(self) -> Mapping[str, Any] | None:
        """What it is given."""


@dataclass(frozen=True, slots=True)
class Calls:
    """What calls become that are more than an RPC."""

    agents: Agents
    tasks: Tasks
    asking: Asking


class Tools:
    """Registered tools, and agents as tools."""

    def __init__(
        self, services: Services, catalog: Catalog, cursors: Cursors, calls: Calls
    ) -> None:
        self._call = services["ToolRegistryService/CallTool"]
        self._stream = services["ToolRegistryService/StreamCallTool"]
        self._catalog = catalog
        self._cursors = cursors
        self._agents = calls.agents
        self._tasks = calls.tasks
        self._asking = calls.asking

    async def list(self, ctx: Context, params: PaginatedRequestParams | None) -> Wire:
        """A page of tools, by name."""
        snapshot = await self._catalog.fresh(client.caller_of(ctx))
        version, cursor = ctx.protocol_version, params.cursor if params else None
        made = partial(self.page, snapshot, version, cursor)
        page: Wire = await snapshot.kept((version, cursor), made)
        return page

    async def call(self, ctx: Context, params: Call) -> Wire:
        """Call a tool or an agent; or begin a task, for a client that can wait for one."""
        caller = client.caller_of(ctx)
        offer = await self._catalog.offer(caller, params.name) or _UNKNOWN
        agent_id, arguments = agent_of(params.name), dict(params.arguments or {})
        try:
            if (offer.is_long or agent_id) and client.takes_tasks(ctx):
                return await self._tasks.begin(ctx, caller, params.name, arguments)
            if agent_id:
                return await self._agents.ask(ctx, caller, agent_id, arguments)
            request = {"name": params.name, "input": arguments, **client.answers_of(ctx)}
            if session := client.session_of(ctx):
                request["capabilities"] = session.capabilities
            response = await self._response(ctx, caller, offer, request)
            if session and response.get("status") == results.INPUT_REQUIRED:
                return await self._asking.go_on(ctx, caller, offer, request, response)
        except Refused as refused:
            if refused.reason not in _TOLD and (
                offer is _UNKNOWN or refused.reason not in _TOLD_IF_KNOWN
            ):
                raise
            return results.failure({**refused.said, "reason": refused.reason})
        is_modern = client.is_modern(ctx)
        raise_protocol_error(ctx, response.get("error") or {})
        return results.of_call(response, is_modern=is_modern, has_schema=offer.has_schema)

    def page(self, snapshot: Snapshot, version: str, cursor: str | None) -> Wire:
        """A page of the list as a version shows it, judged by the SDK. That takes a while: ask in
        a thread.

        Raises:
            MCPError: that is no cursor of this list.
        """
        names = list(snapshot.offers)
        start = bisect_right(names, self._cursors.opened(cursor))
        offers = [snapshot.offers[name] for name in names[start : start + PAGE]]
        sizes = accumulate(each.size_bytes for each in offers)
        offers = offers[: max(1, bisect_right(list(sizes), PAGE_BYTES))]
        is_modern = version in MODERN_PROTOCOL_VERSIONS
        wire = _fitting([each.shown(is_modern=is_modern) for each in offers], version)
        if start + len(offers) < len(names):
            wire["nextCursor"] = self._cursors.sealed(offers[-1].name)
        return wire

    async def _response(
        self, ctx: Context, caller: Caller, offer: Offer, request: Mapping[str, Any]
    ) -> Reply:
        if offer.tells and client.listens(ctx):
            try:
                return await self._told(ctx, caller, offer, request)
            except Refused as refused:
                if refused.reason != _NOT_OFFERED:  # By a registry of a version before this one.
                    raise
        return await self._call(caller, request, seconds=offer.seconds)

    async def _told(
        self, ctx: Context, caller: Caller, offer: Offer, request: Mapping[str, Any]
    ) -> Reply:
        """Call, and pass on what the tool says meanwhile."""
        response: Reply = {}
        events = self._stream.stream(caller, request, seconds=offer.seconds)
        async with aclosing(events):
            async for event in events:
                if progress := event.get("progress"):
                    await client.tell_progress(
                        ctx,
                        progress.get("progress", 0.0),
                        progress.get("total"),
                        progress.get("message", ""),
                    )
                elif said := event.get("log"):
                    message = said.get("message", "")
                    await client.tell_log(ctx, said.get("level"), message, offer.name)
                else:
                    response = event.get("response", {})
        return response


def raise_protocol_error(ctx: Context, error: Mapping[str, Any]) -> None:
    """What an MCP server answered with an error is an error here, too. Raises `MCPError`."""
    reason, message = error.get("reason", ""), error.get("message", "")
    if reason == _INPUT_NEEDED and client.is_modern(ctx):
        can = client.askable(ctx)
        raise client.missing({name: {} for name in client.ASKABLE if name not in can})
    if (code := results.PROTOCOL_ERRORS.get(reason)) is not None:
        raise MCPError(code, message, dict(error))


def _fitting(tools: list[Wire], version: str) -> Wire:
    """These tools as a result, without those that the version has no words for."""
    try:
        return _result(tools, version)
    except ValidationError:
        fitting = [tool for tool in tools if _fits(tool, version)]
        return _result(fitting, version)


def _fits(tool: Wire, version: str) -> bool:
    try:
        _result([tool], version)
    except ValidationError:
        log.warning(
            "a tool cannot be shown", extra={"tool": tool["name"], "protocol_version": version}
        )
        return False
    return True


def _result(tools: list[Wire], version: str) -> Wire:
    result = {
        "tools": tools,
        "ttlMs": TTL_MS,
        "cacheScope": "private",
        "resultType": results.COMPLETE,
    }
    return serialize_server_result(LIST, version, result)
