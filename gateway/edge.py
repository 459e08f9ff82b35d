"""The ASGI application: a request goes to its endpoint, and what is raised becomes its answer."""

import logging
from collections.abc import Coroutine
from time import perf_counter
from typing import Any

import grpc
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

from gateway import errors, tracing
from gateway.access import Access
from gateway.conversation import Conversation
from gateway.endpoints import Endpoint
from gateway.exchange import Exchange
from gateway.head import Head, read
from gateway.hosts import hosts
from gateway.metrics import Requests
from gateway.origins import SAFE, check_origin
from gateway.outcomes import outcome
from gateway.routes import Router
from gateway.served import Served
from gateway.settings import Settings
from gateway.traffic import ClientGone, Traffic
from gateway.websocket import WebSocket
from services.chassis.context import current
from services.chassis.errors import InvalidArgument, ServiceError
from services.chassis.exemplars import example_of
from services.chassis.tracing import names

log = logging.getLogger(__name__)


class Application:
    """Answers every request, whatever it is."""

    def __init__(
        self,
        router: Router[Endpoint],
        traffic: Traffic,
        settings: Settings,
        requests: Requests,
    ) -> None:
        self._router = router
        self._traffic = traffic
        self._requests = requests
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

    async def _guarded(self, served: Served, answering: Coroutine[Any, Any, None]) -> None:
        start = perf_counter()
        self._traffic.enter()
        self._requests.begin(served.scope["type"])
        try:
            await answering
        except ClientGone:
            served.span.set(names.CANCELED, True)
            log.debug("the client went away")
        except ServiceError as error:
            await served.fail(errors.from_error(error, served.context))
        except grpc.aio.AioRpcError as error:
            await served.fail(errors.from_rpc(error, served.service, served.context))
        except Exception:
            log.exception("unhandled error")
            await served.fail(errors.internal(served.context))
        finally:
            served.span.end()
            self._traffic.leave()
            self._tell(served, perf_counter() - start)

    def _tell(self, served: Served, took: float) -> None:
        """Count it, and write its line."""
        scope = served.scope
        method = scope["method"] if scope["type"] == "http" else "GET"
        ended = outcome(served.route, method, served.status)
        self._requests.end(scope["type"], ended, took, example_of(served.context))
        self._access.answered(ended, took)

    async def _answer(self, exchange: Exchange) -> None:
        method = exchange.scope["method"]
        path = self._begin(exchange, method)
        if b"origin" in exchange.head.fields and method not in SAFE:
            self._check_origin(exchange.head)
        if method == "OPTIONS":
            allow = ", ".join(self._router.allowed(path))
            await exchange.answer_nothing((b"allow", allow.encode()))
            return
        endpoint, captures = self._router.find(method, path)
        self._admit(exchange, method, path, endpoint)
        await endpoint(exchange, captures)

    async def _converse(self, socket: WebSocket) -> None:
        path = self._begin(socket, "GET")
        self._check_origin(socket.head)
        endpoint, _ = self._router.find("GET", path)
        if not isinstance(endpoint, Conversation):
            raise InvalidArgument(
                "UPGRADE_NOT_OFFERED",
                f"{path[:200]} is no WebSocket",
                suggested_fix="send a plain GET, without Upgrade",
            )
        self._admit(socket, "GET", path, endpoint)
        await endpoint.converse(socket)

    def _begin(self, served: Served, method: str) -> str:
        """Read its head and begin its span; the path that it is for."""
        scope = served.scope
        served.read_head(known := read(scope["headers"], follows=self._follows))
        current.set(known.context)
        path = scope["raw_path"].decode("ascii", "replace")
        served.span = tracing.served(method, known.elsewhere)
        self._hosts.check(known.fields.get(b"host", b""))
        return path

    def _check_origin(self, head: Head) -> None:
        check_origin(head.text(b"origin"), head.text(b"host"), self._origins)

    def _admit(self, served: Served, method: str, path: str, endpoint: Endpoint) -> None:
        """Let it in to what answers it. The edge's own answers are never shed."""
        tracing.name_after(served.span, method, endpoint.route, path)
        served.route = endpoint.route
        if endpoint.service:
            self._traffic.admit()
            served.service = endpoint.service
