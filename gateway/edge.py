"""The ASGI application: a request goes to its endpoint, and what is raised becomes its answer."""

import logging

import grpc
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

from gateway import errors, head
from gateway.endpoints import Endpoint
from gateway.exchange import Exchange
from gateway.routes import Router
from gateway.traffic import ClientGone, Traffic
from services.chassis.context import current
from services.chassis.errors import ServiceError

log = logging.getLogger(__name__)


class Application:
    """Answers every request, whatever it is."""

    def __init__(self, router: Router[Endpoint], traffic: Traffic) -> None:
        self._router = router
        self._traffic = traffic

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send)
        self._traffic.enter()
        try:
            await self._answer(exchange)
        except ClientGone:
            log.debug("the client went away")
        except ServiceError as error:
            await exchange.fail(errors.from_error(error, exchange.context))
        except grpc.aio.AioRpcError as error:
            await exchange.fail(errors.from_rpc(error, exchange.service, exchange.context))
        except Exception:
            log.exception("unhandled error")
            await exchange.fail(errors.internal(exchange.context))
        finally:
            self._traffic.leave()

    async def _answer(self, exchange: Exchange) -> None:
        scope = exchange.scope
        exchange.read(known := head.read(scope["headers"]))
        current.set(known.context)
        method, path = scope["method"], scope["raw_path"].decode("ascii", "replace")
        if method == "OPTIONS":
            allow = ", ".join(self._router.allowed(path))
            await exchange.answer_nothing((b"allow", allow.encode()))
            return
        endpoint, captures = self._router.find(method, path)
        if endpoint.service:
            self._traffic.admit()
            exchange.service = endpoint.service
        await endpoint(exchange, captures)
