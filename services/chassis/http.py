"""An ASGI application on a socket, with uvicorn, for as long as a context is open."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta

import uvicorn
from uvicorn._types import ASGIApplication


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: the process owns them."""
        yield


def bound(listen: str) -> socket.socket:
    """A listening socket for `host:port`; port 0 takes a free one.

    Raises:
        OSError: the port is taken or the address is not this machine's; says which.
    """
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, int(port)), family=family, backlog=2048)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {listen}: {error.strerror}") from None


def address_of(sock: socket.socket) -> str:
    """`host:port` of a bound socket."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@asynccontextmanager
async def serving_http(
    app: ASGIApplication, listen: str, *, grace: timedelta, limit_concurrency: int | None = None
) -> AsyncIterator[str]:
    """Serve `app`; yields `host:port`. On leaving, requests get `grace` to end."""
    sock = bound(listen)
    config = uvicorn.Config(
        app,
        http="httptools",
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
        limit_concurrency=limit_concurrency,
        h11_max_incomplete_event_size=64 * 1024,
    )
    server = _Server(config)
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(sockets=[sock]))
        try:
            yield address_of(sock)
        finally:
            server.should_exit = True
