"""Ports for servers that tests start, stop and start again."""

import atexit
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from services.cli.ports import free as unheld

HOST: Final = "127.0.0.1"
SUITE: Final = 10  # The edge's port, and those of the services next to it.

_kept = ExitStack()
atexit.register(_kept.close)


def free(count: int = 1) -> int:
    """The first of so many ports in a row, as `reserved` has them, until this process ends."""
    return _kept.enter_context(reserved(count))


@contextmanager
def reserved(count: int) -> Iterator[int]:
    """The first of so many ports in a row, which nobody else is given until the context is left.

    Other tests run at the same time, and a port that was free a moment ago may be another's before
    a server listens there. So sockets hold these: bound, they keep the system from giving the port
    away; they do not listen, so a server that names the port may.
    """
    if sys.platform != "linux":  # Elsewhere such a socket would be in the server's way.
        yield unheld(HOST, taken=set())
        return
    while True:
        with ExitStack() as stack:
            try:
                first = _held(stack, 0)
                for port in range(first + 1, first + count):
                    _held(stack, port)
            except (OSError, OverflowError):  # The next port is another's, or beyond the last.
                continue
            yield first
            return


def _held(stack: ExitStack, port: int) -> int:
    sock = stack.enter_context(socket.socket())
    sock.bind((HOST, port))
    # Only now: with it, others' sockets of this kind would not be in the way of this one.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return int(sock.getsockname()[1])
