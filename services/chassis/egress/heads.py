"""An answer's head comes soon: what may come before it (1xx, RFC 9110, 15.2) is bounded.

httpcore2 reads one interim answer after the other for as long as there are any.
"""

import re
import select
import socket
import ssl
from typing import Any, Final

import httpcore2

MAX_BYTES: Final = 64 * 1024
"""Of interim answers before one that counts."""
_AT_ONCE: Final = 8 * 1024
_BEGINS: Final = re.compile(rb"HTTP/\d\.\d 1")
_SHORTEST: Final = len(b"HTTP/1.1 1")
_ENDS: Final = re.compile(rb"\n\r?\n")


class Heads(httpcore2.AsyncNetworkStream):
    """A connection over another that ends when no answer comes, only interim ones."""

    def __init__(self, inner: httpcore2.AsyncNetworkStream) -> None:
        self._inner = inner
        self._socket: socket.socket | None = inner.get_extra_info("socket")
        self._head = b""
        self._left = MAX_BYTES
        self._waits = True

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What comes. Raises RemoteProtocolError when too much comes before the answer."""
        if not self._waits:
            return await self._inner.read(max_bytes, timeout)
        # Few at a time: the loop reads all that there are without letting others run.
        content = await self._inner.read(min(max_bytes, _AT_ONCE), timeout)
        self._left -= len(content)
        self._head = _after_interim(self._head + content)
        self._waits = len(self._head) < _SHORTEST or bool(_BEGINS.match(self._head))
        if self._waits and self._left < 0:
            raise httpcore2.RemoteProtocolError("interim answers without end")
        return content

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send something; an answer to it begins anew."""
        self._head, self._left, self._waits = b"", MAX_BYTES, True
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        """Hang up."""
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """The same over TLS."""
        return Heads(await self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        """What the connection knows of itself."""
        if info == "is_readable":  # Each request asks it twice of each idle connection.
            return _is_readable(self._socket)
        return self._inner.get_extra_info(info)


def _is_readable(of: socket.socket | None) -> bool:
    """Whether there is something to be read, if only that the other side hung up."""
    if of is None or of.fileno() < 0:
        return True
    asking = select.poll()
    asking.register(of, select.POLLIN)
    return bool(asking.poll(0))


def _after_interim(head: bytes) -> bytes:
    """What follows the interim answers that are complete."""
    at = 0
    while _BEGINS.match(head, at) and (end := _ENDS.search(head, at)):
        at = end.end()
    return head[at:]
