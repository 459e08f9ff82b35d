"""`POST /mcp`. The server behind it is loaded by the first request: the SDK takes half a second."""

import asyncio
import logging
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import grpc

from gateway import errors, members, nesting
from gateway.endpoints import Edge
from gateway.exchange import Exchange
from gateway.head import check_json
from gateway.mcp import refusals
from gateway.mcp.operations import Operations
from gateway.mcp.refusals import Refused
from gateway.shapes import JSON
from services.chassis.errors import InvalidArgument, ServiceError

if TYPE_CHECKING:
    from gateway.mcp.server import McpServer

log = logging.getLogger(__name__)

PATH: Final = "/mcp"


class Mcp:
    """The MCP endpoint; as a context, for as long as the edge serves."""

    service = ""
    route = PATH

    def __init__(
        self, edge: Edge, channels: Mapping[str, grpc.aio.Channel], operations: Operations
    ) -> None:
        self._edge = edge
        self._channels = channels
        self._operations = operations
        self._traffic = edge.traffic
        self._limits = edge.settings.limits
        self._server: asyncio.Future[McpServer | None] | None = None
        self._is_over = asyncio.Event()

    async def __aenter__(self) -> "Mcp":
        return self

    async def __aexit__(self, *error: object) -> None:
        self._is_over.set()

    async def __call__(self, exchange: Exchange, captures: Mapping[str, str]) -> None:
        """Answer a request."""
        try:
            self._traffic.admit()
            body = await self._body(exchange)
            message = _message(body)
        except ServiceError as error:
            await refusals.answer(exchange, refusals.from_error(error, exchange.context))
            return
        if (server := await self._loaded()) is None:
            await refusals.answer(exchange, Refused(errors.internal(exchange.context)))
            return
        await server.answer(exchange, body, message)

    async def _body(self, exchange: Exchange) -> bytes:
        check_json(exchange.head)
        limits = self._limits
        body = await exchange.body(max_bytes=limits.max_body_bytes, timeout=limits.body_timeout)
        if nesting.is_too_deep(body):
            raise InvalidArgument(
                "JSON_INVALID",
                f"the body is nested deeper than {nesting.MAX_DEPTH} levels",
                field="body",
                suggested_fix="send flatter JSON",
            )
        return body

    async def _loaded(self) -> "McpServer | None":
        """The server; None if there is none. The first to ask has it loaded, and all who ask
        meanwhile wait for that."""
        if self._server is None:
            self._server = asyncio.get_running_loop().create_future()
            self._traffic.tasks.create_task(self._serve(self._server))
        return await asyncio.shield(self._server)

    async def _serve(self, ready: "asyncio.Future[McpServer | None]") -> None:
        """Serve until the edge stops. What fails is logged, and the next to ask has it tried anew:
        the rest of the edge does without."""
        try:
            module: Any = await asyncio.to_thread(import_module, "gateway.mcp.server")
            server: McpServer = module.McpServer(self._edge, self._channels, self._operations)
            async with server.running():
                ready.set_result(server)
                await self._is_over.wait()
        except Exception:
            log.exception("the MCP server does not run")
        finally:
            self._server = None
            if not ready.done():
                ready.set_result(None)


def _message(body: bytes) -> JSON:
    """What a body says; None if it is no JSON, as the SDK will say."""
    try:
        return members.loaded(body)
    except ValueError:
        return None
