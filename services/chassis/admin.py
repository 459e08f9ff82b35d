"""`/livez`, `/readyz`, `/metrics` and `/loglevel` over plain HTTP, for those who speak neither gRPC
nor TLS."""

from collections.abc import Callable

from pydantic import SecretStr
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from services.chassis.levels import Levels
from services.chassis.loglevel import PATH as LOG_LEVEL
from services.chassis.loglevel import LogLevel
from services.chassis.metrics import CONTENT_TYPE, Metrics
from services.chassis.rebinding import is_rebound

_OK = (200, CONTENT_TYPE, b"ok\n")
_NOT_READY = (503, CONTENT_TYPE, b"not ready\n")
_ELSEWHERE = (403, CONTENT_TYPE, b"not for this name; use localhost or an address\n")
_UNKNOWN = (404, CONTENT_TYPE, b"not found; try /livez, /readyz, /metrics or /loglevel\n")


class Admin:
    """An ASGI application that asks `is_ready`, and shows `metrics`."""

    def __init__(
        self,
        is_ready: Callable[[], bool],
        metrics: Metrics | None = None,
        token: SecretStr | None = None,
    ) -> None:
        self._is_ready = is_ready
        self._log_level = LogLevel(Levels(), token)
        self._metrics = metrics or Metrics()

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        if scope["path"] == LOG_LEVEL:
            await self._log_level(scope, receive, send)
            return
        status, media_type, body = await self._answer(scope)
        headers = [
            (b"content-type", media_type.encode()),
            (b"content-length", b"%d" % len(body)),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: HTTPScope) -> tuple[int, str, bytes]:
        path = scope["path"]
        if path == "/livez":
            return _OK
        if path == "/readyz":
            return _OK if self._is_ready() else _NOT_READY
        if path != "/metrics":
            return _UNKNOWN
        if is_rebound(scope):
            return _ELSEWHERE
        accept = b", ".join(value for name, value in scope["headers"] if name == b"accept")
        return 200, *await self._metrics.written(accept.decode("latin-1"))
