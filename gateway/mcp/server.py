"""The MCP server put together. What needs the SDK in this package is loaded by this module."""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, cast

import grpc
from mcp.server.caching import CacheHint
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CallToolRequestParams,
    CompleteRequestParams,
    EmptyResult,
    GetPromptRequestParams,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    SetLevelRequestParams,
    SubscriptionsListenRequestParams,
)
from pydantic import ValidationError
from uvicorn._types import ASGISendCallable

from gateway.endpoints import Edge
from gateway.exchange import Exchange
from gateway.mcp import client, refusals, sessions
from gateway.mcp.agents import Agents
from gateway.mcp.answers import Answers, is_answer
from gateway.mcp.asked import LISTEN, Asked, asked_of
from gateway.mcp.asker import Askers
from gateway.mcp.asking import Asking
from gateway.mcp.catalog import Catalog
from gateway.mcp.client import Context
from gateway.mcp.cursors import Cursors
from gateway.mcp.ids import Ids
from gateway.mcp.listening import Listeners
from gateway.mcp.operations import TOOL_ERROR, Operation, Operations
from gateway.mcp.prompts import Prompts
from gateway.mcp.refusals import Refused
from gateway.mcp.resources import Resources
from gateway.mcp.rpc import Caller, Services
from gateway.mcp.sessions import Sessions, is_handshake
from gateway.mcp.shortcut import CALL, Shortcut
from gateway.mcp.stream import Stream
from gateway.mcp.tasks import CANCEL, GET, UPDATE, TaskParams, Tasks, UpdateParams
from gateway.mcp.tools import LIST, TTL_MS, Calls, Tools
from gateway.shapes import JSON
from gateway.traffic import ClientGone
from services.chassis.context import (
    STATE_KEY,
    TRACE_KEY,
    RequestContext,
    continued,
    current,
    link,
)
from services.chassis.errors import ServiceError
from services.chassis.histograms import CANCELED, OTHER_ERROR
from services.chassis.suite import SUITE, suite_id

NAME: Final = "runplane"
_LISTS: Final = (LIST, "prompts/list", "resources/list", "resources/templates/list")
_INSTRUCTIONS: Final = (
    "Tools named agent__NAME are agents: they take a query and answer it, which may take minutes. "
    "Tasks and their logs are resources under runplane://tasks/."
)
_MODERN: Final = b"2026-07-28"
_VERSION: Final = b"mcp-protocol-version"


class McpServer:
    """An MCP server of one edge."""

    def __init__(
        self, edge: Edge, channels: Mapping[str, grpc.aio.Channel], operations: Operations
    ) -> None:
        self._operations = operations
        self._follows = edge.settings.follow_traces
        services = Services(edge, channels)
        self._catalog = Catalog(services, edge.traffic, edge.settings.mcp)
        tasks = Tasks(services)
        settings = edge.settings
        key = bytes.fromhex(settings.page_token_key.get_secret_value())
        ids = Ids(key)
        askers = Askers(services, ids)
        asking = Asking(services, tasks, askers, edge.traffic)
        calls = Calls(Agents(services, askers), tasks, asking)
        tools = Tools(services, self._catalog, Cursors(key, LIST), calls)
        self._sessions = Sessions(key, settings.mcp.session_ttl)
        self._answers = Answers(tasks, ids)
        resources = Resources(services, Cursors(key, "resources/list"))
        server = _server(services, tools, tasks, resources, self._catalog)
        # Or a registry would register its own suite, and a call might go round for ever.
        server.extensions = {**server.extensions, SUITE: {"id": suite_id(settings.page_token_key)}}
        listeners = Listeners(services, self._catalog, tasks, edge)
        server.add_request_handler(LISTEN, SubscriptionsListenRequestParams, listeners.listen)
        self._shortcut = Shortcut(server, tools, self._catalog)
        limit = edge.settings.limits.max_body_bytes
        self._whole, self._streaming = (
            StreamableHTTPSessionManager(
                server, json_response=is_whole, stateless=True, max_request_body_size=limit
            )
            for is_whole in (True, False)
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve until the context is left."""
        logging.getLogger("mcp").setLevel(
            logging.WARNING
        )  # It has something to say of all requests.
        async with self._whole.run(), self._streaming.run():
            yield

    async def answer(self, exchange: Exchange, body: bytes, message: JSON) -> None:
        """Answer a request whose body was read, and says this."""
        asked = asked_of(message)
        with self._operations.begin(asked.method) as operation:
            try:
                if self._is_handshaken(exchange):
                    await self._handshaken(exchange, body, asked, operation)
                else:
                    await self._modern(exchange, body, asked, operation)
            except Refused as refused:
                operation.failed(refusals.unread_code(refused))
                await refusals.answer(exchange, refused)
            if exchange.status >= 400:
                operation.failed(exchange.status)

    async def _modern(
        self, exchange: Exchange, body: bytes, asked: Asked, operation: Operation
    ) -> None:
        receive = None if asked.hears else exchange.receive
        caller = Caller(exchange.head, self._context(exchange, asked), receive, operation)
        await self._prepare(caller, asked)
        if not asked.hears and await self._shortcut.answered(exchange, asked.message, caller):
            return
        manager = self._streaming if asked.hears else self._whole
        await _serve(manager, exchange, body, exchange.relay, {client.CALLER: caller})

    async def _handshaken(
        self, exchange: Exchange, body: bytes, asked: Asked, operation: Operation
    ) -> None:
        """The same for clients that shake hands first: all they get are streams, and they may have
        a session. What they were asked in it they answer by requests of their own."""
        caller = Caller(exchange.head, self._context(exchange, asked), None, operation)
        message, session, who, begun = asked.message, None, exchange.context.principal, b""
        try:
            if is_handshake(message):
                begun = self._sessions.begun(message, who).encode()
            elif sealed := exchange.head.text(sessions.HEADER).strip():
                session = self._sessions.found(sealed, who)
            if session is not None and is_answer(message):
                await self._answers.take(caller, session, message)
                await exchange.answer(202, b"")
                return
        except ServiceError as error:
            raise refusals.from_error(error, exchange.context) from None
        await self._prepare(caller, asked)
        stream = Stream(exchange, *([(sessions.HEADER, begun)] if begun else ()))
        about = {client.CALLER: caller, client.SESSION: session, client.STREAM: stream}
        await _serve(self._streaming, exchange, body, stream.relay, about)

    def _context(self, exchange: Exchange, asked: Asked) -> RequestContext:
        """The request, within the trace that its `_meta` names, if it names one; where those of
        clients are not followed, it is linked to that."""
        traceparent, state = (asked.meta.get(key) for key in (TRACE_KEY, STATE_KEY))
        if not isinstance(traceparent, str):
            return exchange.context
        if self._follows:
            state = state if isinstance(state, str) else ""
            return continued(exchange.context, traceparent, state)
        if (elsewhere := link(traceparent)) is not None:
            exchange.span.link(*elsewhere)
        return exchange.context

    async def _prepare(self, caller: Caller, asked: Asked) -> None:
        if asked.method == CALL:
            # Whether its headers are right depends on it.
            await self._catalog.prepare(caller, asked.name)

    def _is_handshaken(self, exchange: Exchange) -> bool:
        """Whether it is of a version whose clients hear of progress and logs unasked."""
        return exchange.head.fields.get(_VERSION) != _MODERN


async def _serve(
    manager: StreamableHTTPSessionManager,
    exchange: Exchange,
    body: bytes,
    send: ASGISendCallable,
    about: Mapping[str, Any],
) -> None:
    """Have the SDK answer, and tell its handlers this."""
    headers = [(name, value.strip()) for name, value in exchange.scope["headers"]]
    scope = {**exchange.scope, "headers": headers, **about}
    receive = exchange.replaying(body)
    await manager.handle_request(scope, cast("Any", receive), cast("Any", send))


def _server(
    services: Services, tools: Tools, tasks: Tasks, resources: Resources, catalog: Catalog
) -> Server[Any]:
    prompts = Prompts(services)
    server: Server[Any] = Server(
        NAME,
        version=_release(),
        title="Runplane",
        instructions=_INSTRUCTIONS,
        cache_hints={
            "server/discover": CacheHint(ttl_ms=60_000, scope="private"),
            "resources/read": CacheHint(scope="private"),
            **{name: CacheHint(ttl_ms=TTL_MS, scope="private") for name in _LISTS},
        },
        get_tool_input_schema=_schemas(catalog),
    )
    server.middleware = [_counted, _translated]
    server.extensions = {client.TASKS: {}}
    handlers: list[tuple[str, type[Any], Any]] = [
        (LIST, PaginatedRequestParams, tools.list),
        (CALL, CallToolRequestParams, tools.call),
        ("resources/list", PaginatedRequestParams, resources.list),
        ("resources/templates/list", PaginatedRequestParams, resources.templates),
        ("resources/read", ReadResourceRequestParams, resources.read),
        ("prompts/list", PaginatedRequestParams, prompts.list),
        ("prompts/get", GetPromptRequestParams, prompts.get),
        ("completion/complete", CompleteRequestParams, prompts.complete),
        ("logging/setLevel", SetLevelRequestParams, _set_level),
        (GET, TaskParams, tasks.get),
        (UPDATE, UpdateParams, tasks.update),
        (CANCEL, TaskParams, tasks.cancel),
    ]
    for method, params, handler in handlers:
        server.add_request_handler(method, params, handler)
    return server


async def _counted(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """How a request or a notification ended, for those who count it."""
    operation = client.operation_of(ctx)
    try:
        result = await call_next(ctx)
    except MCPError as error:
        operation.failed(error.code)
        raise
    except ValidationError:
        operation.failed(refusals.INVALID_PARAMS)
        raise
    except Exception:
        operation.error = operation.error or OTHER_ERROR
        raise
    if isinstance(result, Mapping) and result.get("isError") is True:
        operation.error = TOOL_ERROR
    return result


async def _translated(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """What services refuse, as JSON-RPC says it."""
    try:
        return await call_next(ctx)
    except Refused as refused:
        raise MCPError(refused.code, refused.message, refused.said) from None
    except ClientGone:
        client.operation_of(ctx).error = CANCELED
        raise MCPError(refusals.INTERNAL_ERROR, "the client went away") from None


async def _set_level(ctx: Context, params: SetLevelRequestParams) -> EmptyResult:
    """Take note of nothing: no request knows of another here. Clients get what tools say."""
    return EmptyResult()


def _schemas(catalog: Catalog) -> Any:
    """Looks up what `Mcp-Param-…` headers of a call are compared with."""

    def schema(name: str) -> Mapping[str, Any] | None:
        offer = catalog.at_hand(current.get().principal.tenant, name)
        return offer.wire["inputSchema"] if offer else None

    return schema


def _release() -> str:
    try:
        return version(NAME)
    except PackageNotFoundError:  # Run from a checkout that is not installed.
        return "unknown"
