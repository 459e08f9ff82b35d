"""Servers on bare sockets, for answers that no library would give."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

PREFACE_BYTES = 24
DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, END_HEADERS, ACK = 1, 4, 1
STATUS_200 = b"\x88"

Handle = Callable[[socket.socket], Awaitable[None]]


@asynccontextmanager
async def accepting(handle: Handle) -> AsyncIterator[str]:
    """A server that hands each connection to `handle` and closes all of them in the end."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        connections: list[socket.socket] = []

        async def accept(group: asyncio.TaskGroup) -> None:
            while True:
                connection, _ = await loop.sock_accept(listening)
                connections.append(connection)
                group.create_task(_handled(handle, connection))

        try:
            async with asyncio.TaskGroup() as group:
                accepts = group.create_task(accept(group))
                yield f"127.0.0.1:{listening.getsockname()[1]}"
                accepts.cancel()
                for connection in connections:
                    with suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)
        finally:
            for connection in connections:
                connection.close()


async def _handled(handle: Handle, connection: socket.socket) -> None:
    with suppress(EOFError, OSError):
        await handle(connection)


@asynccontextmanager
async def speaking(said: bytes, *, hangs_up: bool) -> AsyncIterator[str]:
    """A server that says this, whatever it is asked."""

    async def handle(connection: socket.socket) -> None:
        await asyncio.get_running_loop().sock_sendall(connection, said)
        if hangs_up:
            connection.shutdown(socket.SHUT_RDWR)

    async with accepting(handle) as address:
        yield address


@asynccontextmanager
async def answering(content: bytes, *headers: tuple[str, str]) -> AsyncIterator[str]:
    """The least of a gRPC server: it answers each call with this content, and status OK."""
    head = STATUS_200 + _field("content-type", "application/grpc")
    head += b"".join(_field(name, value) for name, value in headers)

    async def handle(connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await _received(connection, PREFACE_BYTES)
        await loop.sock_sendall(connection, _frame(SETTINGS, 0, 0))
        while True:
            start = await _received(connection, 9)
            kind, flags, stream = start[3], start[4], int.from_bytes(start[5:9], "big")
            await _received(connection, int.from_bytes(start[:3], "big"))
            if kind == SETTINGS and not flags & ACK:
                await loop.sock_sendall(connection, _frame(SETTINGS, ACK, 0))
            elif kind == DATA and flags & END_STREAM:
                await loop.sock_sendall(connection, _answer(stream, head, content))

    async with accepting(handle) as address:
        yield address


def _answer(stream: int, head: bytes, content: bytes) -> bytes:
    parts = [content[at : at + 16_000] for at in range(0, len(content), 16_000)]
    return (
        _frame(HEADERS, END_HEADERS, stream, head)
        + b"".join(_frame(DATA, 0, stream, part) for part in parts)
        + _frame(HEADERS, END_HEADERS | END_STREAM, stream, _field("grpc-status", "0"))
    )


async def _received(connection: socket.socket, count: int) -> bytes:
    loop, received = asyncio.get_running_loop(), b""
    while len(received) < count:
        part = await loop.sock_recv(connection, count - len(received))
        if not part:
            raise EOFError
        received += part
    return received


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags])
    return head + stream.to_bytes(4, "big") + payload


def _field(name: str, value: str) -> bytes:
    """A header that is neither indexed nor packed."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
