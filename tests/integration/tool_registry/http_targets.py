"""Servers on loopback that answer HTTP as a test wants it, and tools whose targets they are."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from services.chassis.egress.addresses import Allowed
from services.chassis.egress.client import Egress
from services.chassis.egress.secrets import StoredSecrets
from services.chassis.errors import ServiceError
from services.tool_registry.adapters.http.tool import HttpTool, HttpTools
from services.tool_registry.app import utc_now
from services.tool_registry.domain.targets import Http
from services.tool_registry.domain.tool import ToolFailure
from services.tool_registry.ports import Invocation
from tests.integration.tool_registry.hosts import Handler, listening, said
from tests.unit.tool_registry.entries import entry

LIMIT = 2 * 1024 * 1024
KEY = "s3cret-key"
JSON = "Content-Type: application/json"
LOOPBACK = Egress(Allowed.parsed("127.0.0.1/32"))
STORED = StoredSecrets(None, {"KEY": KEY, "LOGIN": f"me:{KEY}", "ODD": "schlüssel"})


@dataclass
class Target:
    """A server that answers each request in the same way, and knows what it was asked."""

    answer: bytes = b""
    hangs_up: bool = True
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        self.connections += 1
        try:
            while not reader.at_eof():
                head, _, body = (await said(reader)).partition(b"\r\n\r\n")
                self.heads.append(head.decode("latin-1"))
                self.bodies.append(body)
                writer.write(self.answer)
                await writer.drain()
                self.asked.set()
                if self.hangs_up:
                    return
        finally:
            self.gone.set()

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the last request, by lower-case name."""
        lines = (line.partition(": ") for line in self.heads[-1].split("\r\n")[1:])
        return {name.lower(): value for name, _, value in lines}


def answered(body: bytes | str, *headers: str, status: str = "200 OK") -> bytes:
    """A whole answer."""
    packed = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(packed)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + packed


@asynccontextmanager
async def tool(
    handler: Handler, target: Http | None = None, **about: Mapping[str, object]
) -> AsyncIterator[HttpTool]:
    """A tool whose target is this server; `BASE` in its URL is where that is."""
    wanted = target or Http("GET", "BASE/cities/{city}")
    async with (
        asyncio.timeout(10),
        listening(handler) as port,
        HttpTools(LOOPBACK, STORED, result_bytes=LIMIT, now=utc_now) as tools,
    ):
        url = wanted.url.replace("BASE", f"http://127.0.0.1:{port}")
        parts = {name: getattr(wanted, name) for name in Http.__slots__}
        made = entry(Http(**{**parts, "url": url}), **about)
        yield tools.made(await tools.checked(made, "default"), "default")


async def result(handler: Handler, target: Http | None = None, **about: object) -> object:
    """The result of a call."""
    async with tool(handler, target, **about) as made:
        return (await made.call(Invocation({"city": "Paris"}))).value


async def failure(handler: Handler, target: Http | None = None, **about: object) -> ToolFailure:
    """The failure of a call that fails."""
    with pytest.raises(ToolFailure) as caught:
        await result(handler, target, **about)
    return caught.value


async def refusal(handler: Handler, target: Http | None = None) -> ServiceError:
    """The error of a call that is refused."""
    with pytest.raises(ServiceError) as caught:
        await result(handler, target)
    return caught.value
