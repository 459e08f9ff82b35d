"""Servers that do as no server should, on loopback."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread

Behaviour = Callable[[socket.socket], None]
"""What is done with a connection. When the server ends, the connection breaks under it."""


@contextmanager
def misbehaving(behaviour: Behaviour) -> Iterator[str]:
    """A server that does so with each connection; its address."""
    connections, threads = list[socket.socket](), list[Thread]()

    def one(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            behaviour(connection)

    def all_of_them(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                connections.append(connection)
                threads.append(Thread(target=one, args=(connection,)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepting = Thread(target=all_of_them, args=(listening,))
        accepting.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            _shut(listening)
            accepting.join()
            for connection, thread in zip(connections, threads, strict=True):
                _shut(connection)
                thread.join()


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):  # Its other end, or its thread, was faster.
        connection.shutdown(socket.SHUT_RDWR)


def silent(connection: socket.socket) -> None:
    """Takes all, and says nothing."""
    while connection.recv(65536):
        pass
