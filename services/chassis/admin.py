"""`/livez` and `/readyz` over plain HTTP, for probes that speak neither gRPC nor TLS."""

from collections.abc import Callable

from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

_OK = (200, b"ok\n")
_NOT_READY = (503, b"not ready\n")
_UNKNOWN = (404, b"not found; try /livez or /readyz\n")


class Admin:
    """An ASGI application that asks `is_ready`."""

    def __init__(self, is_ready: Callable[[], bool]) -> None:
        self._is_ready = is_ready

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        status, body = self._answer(scope["path"])
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _answer(self, path: str) -> tuple[int, bytes]:
        if path == "/livez":
            return _OK
        if path == "/readyz":
            return _OK if self._is_ready() else _NOT_READY
        return _UNKNOWN
