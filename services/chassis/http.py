"""An ASGI application on a socket, with uvicorn, for as long as a context is open."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from typing import Final

import uvicorn
from uvicorn._types import ASGIApplication
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_BYTES: Final = 64 * 1024
"""Of a request. uvicorn itself takes as many headers as come."""


REQUEST_SECONDS = 10.0
"""For a request to come, from its first byte on; the first one from the connection on."""


class _Protocol(HttpToolsProtocol):
    """A connection. A request that is too large or too slow ends it."""

    _came = 0
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, and not for ever."""
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._expect_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, up to a bound."""
        self._expect()
        self._came += len(data)
        if self._came > MOST_BYTES:
            self.transport.abort()
        else:
            super().data_received(data)

    def on_message_begin(self) -> None:
        """Wait for its end; it may have come along with the one before."""
        self._expect()
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """Count anew."""
        self._came = 0
        self._expect_no_more()
        super().on_message_complete()

    def _expect(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _expect_no_more(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Have it stop, at once."""
        self.should_exit = True
        self._ending.set()

    async def main_loop(self) -> None:
        """Tick once a second, for the date; uvicorn wakes ten times to see whether to end."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._ending.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: the process owns them."""
        yield


def host_and_port(listen: str) -> tuple[str, int]:
    """The parts of `host:port`; an IPv6 address stands in brackets.

    Raises:
        OSError: it is something else, which grpc would take for some other port.
    """
    host, _, port = listen.rpartition(":")
    if not host or not re.fullmatch(r"\d{1,5}", port, re.ASCII) or int(port) > 65535:
        raise OSError(f"cannot listen on {listen}: it is not HOST:PORT")
    return host, int(port)


def bound(listen: str) -> socket.socket:
    """A listening socket for `host:port`; port 0 takes a free one.

    Raises:
        OSError: the port is taken or the address is not this machine's; says which.
    """
    host, port = host_and_port(listen)
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        problem = str(error.strerror).partition(" (while")[0]  # The address is said already.
        raise OSError(f"cannot listen on {listen}: {problem}") from None


def address_of(sock: socket.socket) -> str:
    """`host:port` of a bound socket."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@asynccontextmanager
async def serving_http(
    app: ASGIApplication, listen: str, *, grace: timedelta
) -> AsyncIterator[str]:
    """Serve `app`; yields `host:port`. On leaving, requests get `grace` to end."""
    sock = bound(listen)
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, round(grace.total_seconds())),
    )
    server = _Server(config)
    with sock:  # Also when the server never came to close it.
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve(sockets=[sock]))
            try:
                yield address_of(sock)
            finally:
                server.end()
