"""`/livez`, `/readyz`, `/metrics` and `/loglevel` over plain HTTP, for those who speak neither gRPC
nor TLS."""

from collections.abc import Callable

from pydantic import SecretStr
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

from services.chassis.levels import Levels
from services.chassis.loglevel import PATH as LOG_LEVEL
from services.chassis.loglevel import LogLevel
from services.chassis.metrics import CONTENT_TYPE, Metrics

_OK = (200, b"ok\n")
_NOT_READY = (503, b"not ready\n")
_UNKNOWN = (404, b"not found; try /livez, /readyz, /metrics or /loglevel\n")


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
        status, body = self._answer(scope["path"])
        headers = [
            (b"content-type", CONTENT_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _answer(self, path: str) -> tuple[int, bytes]:
        if path == "/livez":
            return _OK
        if path == "/readyz":
            return _OK if self._is_ready() else _NOT_READY
        if path == "/metrics":
            return 200, self._metrics.page()
        return _UNKNOWN
