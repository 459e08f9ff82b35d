"""uvicorn as the edge runs it: HTTP/1.1 with bounds on heads, and JSON for what is no HTTP.

A WebSocket's handshake is HTTP; from then on `upgrade.py` has the connection.
"""

import asyncio
import logging
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import uvicorn
from uvicorn._types import ASGIApplication
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from gateway.errors import from_error
from gateway.handshake import MAX_HEADERS, MAX_LINE_BYTES, is_handshake
from gateway.hosts import name_target
from gateway.settings import Settings
from gateway.sweeping import Swept
from services.chassis.context import local_context
from services.chassis.errors import InvalidArgument, ServiceError
from services.chassis.http import address_of

_SECOND_IN_TICKS: Final = 10
_PIPELINED: Final = 8
_UPGRADE: Final = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
# All but the wish for a WebSocket, which only a GET can have.
_OTHER_UPGRADE: Final = re.compile(
    rb"\r\nupgrade:(?![ \t]*websocket[ \t]*(?:\r\n|$))", re.IGNORECASE
)


class _Protocol(Swept, HttpToolsProtocol):
    """A connection. A head that is too large or too slow ends it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.head_bytes = 0
        self.head_since = self.loop.time()
        self.is_in_body = False
        self._silent_bytes = 0
        self._cycles: list[RequestResponseCycle] = []

    @property
    def is_stalled(self) -> bool:
        return self.flow.write_paused

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.head_bytes = 0
        self.head_since = self.loop.time()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value))

    def on_body(self, body: bytes) -> None:
        self._silent_bytes = 0
        super().on_body(body)

    def on_headers_complete(self) -> None:
        self.head_since = None
        self._silent_bytes = 0
        self.head_bytes = 0
        name_target(self.url, self.headers)
        super().on_headers_complete()
        if self.parser.should_upgrade() and self._should_upgrade():
            return
        self.is_in_body = True
        self._cycles = [each for each in self._cycles if not each.response_complete]
        self._cycles.append(self.cycle)
        if len(self.pipeline) > _PIPELINED:
            self.transport.abort()
        elif self.pipeline:
            self.flow.resume_reading()  # Else nobody would notice that the client goes away.

    def on_message_complete(self) -> None:
        self.is_in_body = False
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Parse. A wish for another protocol, which some clients have every time, is passed over:
        the parser would take the body for that protocol's."""
        if b"pgrade" in data and not self.is_in_body:
            head, end, rest = data.partition(b"\r\n\r\n")
            passed_over = _OTHER_UPGRADE if self._is_get(head) else _UPGRADE
            data = passed_over.sub(b"\r\nignored:", head) + end + rest
        self._silent_bytes += len(data)
        super().data_received(data)
        self._check_silence()
        if self.head_since is None and not self._is_busy():
            self.head_since = self.loop.time()  # Bytes that begin nothing buy no time.

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every request that is under way; uvicorn itself tells the newest only."""
        for cycle in self._cycles:
            if not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over. What parses the head once more takes shorter lines."""
        lines = [len(name) + len(value) for name, value in self.headers]
        longest = max(*lines, len(self.url))
        if len(lines) > MAX_HEADERS or longest > MAX_LINE_BYTES:
            self.refuse(_head_too_large(MAX_LINE_BYTES, "a line of a WebSocket's head"))
            return
        from gateway.upgrade import protocol  # noqa: PLC0415 - 30 ms that few need

        self.ws_protocol_class = protocol(self.limits)
        super().handle_websocket_upgrade()

    def _should_upgrade(self) -> bool:
        is_get = self.parser.get_method() == b"GET"
        return is_get and not self._is_busy() and is_handshake(self.headers)

    def _is_get(self, head: bytes) -> bool:
        """Whether a head, or a part of one, is that of a GET."""
        return head.startswith(b"GET ") or (
            self.head_bytes > 0 and self.parser.get_method() == b"GET"
        )

    def _is_busy(self) -> bool:
        return any(not each.response_complete for each in self._cycles)

    def _unsupported_upgrade_warning(self) -> None:
        """End the connection after a wish that came in pieces: its body is lost."""
        self.cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser refused, as every other error is answered."""
        if self.head_bytes > self.limits.max_head_bytes:
            self.refuse(_head_too_large(self.limits.max_head_bytes))
        else:
            fix = "send HTTP/1.1"
            self.refuse(InvalidArgument("HTTP_INVALID", "this is not HTTP/1.1", suggested_fix=fix))

    def refuse(self, error: ServiceError) -> None:
        """Answer without the application, and close."""
        failure = from_error(error, context := local_context())
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(failure.body)),
            (b"x-request-id", context.request_id.encode()),
            (b"connection", b"close"),
        ]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[failure.http] + lines + b"\r\n" + failure.body)
        self.transport.close()

    def _check_silence(self) -> None:
        """End what the parser tells nothing of, such as a header without an end: it would copy all
        of it with each piece that comes."""
        if self._silent_bytes <= self.limits.max_head_bytes or self.transport.is_closing():
            return
        if self.is_in_body or self._is_busy():
            self.transport.abort()
        else:
            self.refuse(_head_too_large(self.limits.max_head_bytes))

    def _count(self, size: int) -> None:
        self._silent_bytes = 0
        self.head_bytes += size
        if self.head_bytes > self.limits.max_head_bytes:
            raise ValueError("head too large")  # The parser turns it into `send_400_response`.


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: the process owns them."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Once a second, end connections that do not get on with it."""
        if counter % _SECOND_IN_TICKS == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Swept):
                    connection.sweep(now)
        return await super().on_tick(counter)


def _head_too_large(max_bytes: int, what: str = "request line and headers") -> InvalidArgument:
    return InvalidArgument(
        "HEAD_TOO_LARGE",
        f"{what}: larger than {max_bytes} bytes",
        max_head_bytes=str(max_bytes),
        suggested_fix="send fewer or shorter headers",
    )


@asynccontextmanager
async def serving_edge(
    app: ASGIApplication, sock: socket.socket, settings: Settings
) -> AsyncIterator[str]:
    """Serve `app`; yields `host:port`. Drain it before leaving: what still runs gets a second."""
    server = _Server(_config(app, settings))
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(sockets=[sock]))
        try:
            yield address_of(sock)
        finally:
            server.should_exit = True


def _config(app: ASGIApplication, settings: Settings) -> uvicorn.Config:
    limits = settings.limits
    protocol = type("EdgeProtocol", (_Protocol,), {"limits": limits})
    return uvicorn.Config(
        app,
        http=protocol,
        ws="none",  # Until there is one: `handle_websocket_upgrade`.
        ws_ping_interval=settings.heartbeat.total_seconds(),
        ws_ping_timeout=limits.pong_timeout.total_seconds(),
        ws_per_message_deflate=False,
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
        limit_concurrency=limits.max_connections,
    )
