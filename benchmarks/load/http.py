"""HTTP/1.1 with next to no cost: requests made beforehand, answers searched, not parsed."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from time import perf_counter
from types import MappingProxyType
from typing import Final, cast

from benchmarks.load.job import JSON

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED_END: Final = b"\r\n0\r\n\r\n"


def request(
    address: str,
    path: str,
    body: dict[str, JSON] | None,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """The bytes of a request."""
    host = f"host: {address}\r\n"
    host += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    if body is None:
        return f"GET {path} HTTP/1.1\r\n{host}\r\n".encode()
    content = json.dumps(body).encode()
    head = f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    return f"POST {path} HTTP/1.1\r\n{host}{head}".encode() + content


class Answer:
    """An answer that is coming in, and when the texts that were looked for came."""

    def __init__(self, marks: Sequence[bytes]) -> None:
        self.began = perf_counter()
        self.at: list[float] = []
        """When each mark came, in their order."""
        self.ended = 0.0
        self._marks = marks
        self._waiting: list[asyncio.Future[None]] = []
        self._searched = 0
        self._received = bytearray()
        self._total = -1
        self._is_chunked = False
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def status(self) -> int:
        """The HTTP status."""
        return int(self._received[9:12])

    @property
    def content(self) -> bytes:
        """All that was received so far, head and chunk sizes included."""
        return bytes(self._received)

    def contains(self, text: bytes) -> bool:
        """Whether it was received."""
        return text in self._received

    async def complete(self) -> None:
        """Wait for the end."""
        await self._done

    async def seen(self, count: int) -> None:
        """Wait until so many marks came.

        Raises:
            EOFError: the answer ended without.
        """
        while len(self.at) < count:
            if self._done.done():
                raise EOFError(self.content[:300].decode(errors="replace"))
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter

    def feed(self, data: bytes) -> bool:
        """Take what came; whether the answer is complete."""
        self._received += data
        if self._total < 0 and not self._is_chunked:
            self._read_head()
        if len(self.at) < len(self._marks):
            self._search()
        if self._is_chunked:
            is_complete = self._received.endswith(_CHUNKED_END)
        else:
            is_complete = 0 <= self._total <= len(self._received)
        if is_complete:
            self.ended = perf_counter()
            self._done.set_result(None)
            self._wake()
        return is_complete

    def fail(self, error: Exception) -> None:
        """The connection is gone."""
        if not self._done.done():
            self._done.set_exception(error)
            self._done.exception()  # It may be that nobody waits.
        self._wake()

    def _read_head(self) -> None:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        if match := _LENGTH.search(self._received, 0, end + 2):
            self._total = end + 4 + int(match[1])
        else:
            self._is_chunked = True

    def _search(self) -> None:
        while len(self.at) < len(self._marks):
            mark = self._marks[len(self.at)]
            place = self._received.find(mark, self._searched)
            if place < 0:
                self._searched = max(self._searched, len(self._received) - len(mark))
                return
            self._searched = place + len(mark)
            self.at.append(perf_counter())
            self._wake()

    def _wake(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._waiting.clear()


class Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time."""

    def __init__(self) -> None:
        self._answer: Answer | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclasses.

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._answer is not None and self._answer.feed(data):
            self._answer = None

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._transport = None
        if self._answer is not None:
            self._answer.fail(ConnectionError(str(exc or "closed by the peer")))

    def begin(self, raw: bytes, marks: Sequence[bytes] = ()) -> Answer:
        """Send a request and do not wait.

        Raises:
            ConnectionError: the peer closed the connection.
        """
        if self._transport is None:
            raise ConnectionError("closed by the peer")
        self._answer = answer = Answer(marks)
        self._transport.write(raw)
        return answer

    async def ask(self, raw: bytes, marks: Sequence[bytes] = ()) -> Answer:
        """Send a request and wait for the whole answer."""
        answer = self.begin(raw, marks)
        await answer.complete()
        return answer

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


async def connect(address: str) -> Connection:
    """A new connection to `host:port`."""
    host, _, port = address.rpartition(":")
    _, connection = await asyncio.get_running_loop().create_connection(Connection, host, int(port))
    return connection
