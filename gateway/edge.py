"""The ASGI application: a request goes to its endpoint, and what is raised becomes its answer."""

import logging
from collections.abc import Coroutine
from time import perf_counter
from typing import Any, Protocol

import grpc
from uvicorn._types import (
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPScope,
    Scope,
    WebSocketScope,
)

from gateway import errors, head, tracing
from gateway.access import Access
from gateway.conversation import Conversation
from gateway.endpoints import Endpoint
from gateway.errors import Failure
from gateway.exchange import Exchange
from gateway.hosts import hosts
from gateway.metrics import Requests
from gateway.origins import SAFE, check_origin
from gateway.routes import Router
from gateway.settings import Settings
from gateway.traffic import ClientGone, Traffic
from gateway.websocket import WebSocket
from services.chassis.context import RequestContext, current
from services.chassis.errors import InvalidArgument, ServiceError
from services.chassis.exemplars import example_of
from services.chassis.tracing import names
from services.chassis.tracing.spans import Nothing, Span

log = logging.getLogger(__name__)


class Answered(Protocol):
    """A request or a WebSocket, as far as errors go."""

    service: str
    span: Span | Nothing
    route: str
    status: int

    @property
    def scope(self) -> HTTPScope | WebSocketScope:
        """What was asked, as ASGI has it."""
        ...

    @property
    def context(self) -> RequestContext:
        """Request and trace."""
        ...

    async def fail(self, failure: Failure) -> None:
        """Say what went wrong."""
        ...


class Application:
    """Answers every request, whatever it is."""

    def __init__(
        self,
        router: Router[Endpoint],
        traffic: Traffic,
        settings: Settings,
        requests: Requests | None = None,
    ) -> None:
        self._router = router
        self._traffic = traffic
        self._requests = requests or Requests()
        self._access = Access()
        self._hosts = hosts(settings.listen, settings.allowed_hosts)
        self._origins = settings.allowed_origins
        self._follows = settings.follow_traces

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Answer one request, or talk through one WebSocket."""
        if scope["type"] == "http":
            exchange = Exchange(scope, receive, send)
            await self._guarded(exchange, self._answer(exchange))
        elif scope["type"] == "websocket":
            socket = WebSocket(scope, receive, send)
            await self._guarded(socket, self._converse(socket))

    async def _guarded(self, answered: Answered, answering: Coroutine[Any, Any, None]) -> None:
        self._traffic.enter()
        scope, start = answered.scope, perf_counter()
        self._requests.begin(kind := scope["type"])
        try:
            await answering
        except ClientGone:
            answered.span.set(names.CANCELED, True)
            log.debug("the client went away")
        except ServiceError as error:
            await answered.fail(errors.from_error(error, answered.context))
        except grpc.aio.AioRpcError as error:
            await answered.fail(errors.from_rpc(error, answered.service, answered.context))
        except Exception:
            log.exception("unhandled error")
            await answered.fail(errors.internal(answered.context))
        finally:
            answered.span.end()
            self._traffic.leave()
            method = scope["method"] if scope["type"] == "http" else "GET"
            took, trace_id = perf_counter() - start, example_of(answered.context)
            said = (answered.route, method, answered.status)
            self._requests.end(kind, took, said, trace_id)
            self._access.answered(method, answered.route, answered.status, took)

    async def _answer(self, exchange: Exchange) -> None:
        scope = exchange.scope
        exchange.read(known := head.read(scope["headers"], follows=self._follows))
        current.set(known.context)
        method, path = scope["method"], scope["raw_path"].decode("ascii", "replace")
        exchange.span = tracing.served(method, known.elsewhere)
        self._hosts.check(known.fields.get(b"host", b""))
        if b"origin" in known.fields and method not in SAFE:
            check_origin(known.text(b"origin"), known.text(b"host"), self._origins)
        if method == "OPTIONS":
            allow = ", ".join(self._router.allowed(path))
            await exchange.answer_nothing((b"allow", allow.encode()))
            return
        endpoint, captures = self._router.find(method, path)
        tracing.name_after(exchange.span, method, endpoint.route, path)
        exchange.route = endpoint.route
        if endpoint.service:
            self._traffic.admit()
            exchange.service = endpoint.service
        await endpoint(exchange, captures)

    async def _converse(self, socket: WebSocket) -> None:
        scope = socket.scope
        socket.read_head(known := head.read(scope["headers"], follows=self._follows))
        current.set(known.context)
        path = scope["raw_path"].decode("ascii", "replace")
        socket.span = tracing.served("GET", known.elsewhere)
        self._hosts.check(known.fields.get(b"host", b""))
        check_origin(known.text(b"origin"), known.text(b"host"), self._origins)
        endpoint, _ = self._router.find("GET", path)
        if not isinstance(endpoint, Conversation):
            raise InvalidArgument(
                "UPGRADE_NOT_OFFERED",
                f"{path[:200]} is no WebSocket",
                suggested_fix="send a plain GET, without Upgrade",
            )
        tracing.name_after(socket.span, "GET", endpoint.route, path)
        socket.route = endpoint.route
        self._traffic.admit()
        socket.service = endpoint.service
        await endpoint.converse(socket)
