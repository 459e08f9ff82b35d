"""A name server that knows one name, with whatever addresses it has now."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Final

_HEADER: Final = struct.Struct("!6H")  # Id, flags, and how many questions, answers and others.
_ANSWER: Final = struct.Struct("!HHHIH4s")  # Name, type, class, seconds, length, address.
_A: Final = 1
_INTERNET: Final = 1
_ANSWERED: Final = 0x8180
_ITS_NAME: Final = 0xC00C  # As in the question, which begins there.


@dataclass
class Names(asyncio.DatagramProtocol):
    """Answers every question for an address of IPv4; there are none of other kinds."""

    addresses: list[str] = field(default_factory=list)
    port: int = 0
    asked: int = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answer there."""
        self._transport: asyncio.DatagramTransport = transport  # type: ignore[assignment]
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer a question."""
        number, *_ = _HEADER.unpack_from(data)
        end = data.index(b"\0", _HEADER.size) + 5
        kind, _ = struct.unpack_from("!2H", data, end - 4)
        found = self.addresses if kind == _A else []
        self.asked += kind == _A
        answers = [
            _ANSWER.pack(_ITS_NAME, _A, _INTERNET, 0, 4, IPv4Address(each).packed) for each in found
        ]
        head = _HEADER.pack(number, _ANSWERED, 1, len(answers), 0, 0)
        self._transport.sendto(head + data[_HEADER.size : end] + b"".join(answers), addr)


@asynccontextmanager
async def names(*addresses: str) -> AsyncIterator[Names]:
    """A name server on a port of its own, until the context is left."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(
        lambda: Names([*addresses]), local_addr=("127.0.0.1", 0)
    )
    try:
        yield server
    finally:
        transport.close()
