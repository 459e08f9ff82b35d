"""MCP as clients before 2026-07-28 speak it, by hand."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

Wire = dict[str, Any]
VERSION = "2025-11-25"
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": VERSION,
}
SESSION = "Mcp-Session-Id"


def handshake(capabilities: Wire, version: str = VERSION) -> Wire:
    """The first request of a client."""
    info = {"name": "old", "version": "1"}
    params = {"protocolVersion": version, "capabilities": capabilities, "clientInfo": info}
    return {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}


@dataclass
class Called:
    """A call under way."""

    lines: AsyncIterator[str]

    async def message(self) -> Wire:
        """What comes next."""
        async with asyncio.timeout(10):
            async for line in self.lines:
                if line.startswith("data: {"):
                    found: Wire = json.loads(line.removeprefix("data: "))
                    return found
        raise AssertionError("the stream is over")

    async def asked(self, method: str = "elicitation/create") -> Wire:
        """What the client is asked next, after whatever it is told."""
        while (found := await self.message()).get("method") != method:
            assert "result" not in found, found
        return found

    async def result(self) -> Wire:
        """What comes of it, after whatever else is said."""
        while "result" not in (found := await self.message()):
            assert "error" not in found, found
        result: Wire = found["result"]
        return result


@dataclass
class Handshaken:
    """A client in its session, if it has one."""

    http: httpx2.AsyncClient
    url: str
    session: str = ""
    version: str = VERSION

    @property
    def headers(self) -> dict[str, str]:
        """What it sends with each request."""
        spoken = {**HEADERS, "MCP-Protocol-Version": self.version}
        return {**spoken, **({SESSION: self.session} if self.session else {})}

    async def post(self, message: Wire, url: str = "") -> httpx2.Response:
        """Send a message, to another edge if it is said."""
        return await self.http.post(url or self.url, json=message, headers=self.headers)

    async def answer(self, asked: Wire, result: Wire, url: str = "") -> httpx2.Response:
        """Answer what was asked."""
        return await self.post({"jsonrpc": "2.0", "id": asked["id"], "result": result}, url)

    async def refuse(self, asked: Wire, message: str) -> httpx2.Response:
        """Answer that there will be no answer."""
        error = {"code": -1, "message": message}
        return await self.post({"jsonrpc": "2.0", "id": asked["id"], "error": error})

    @asynccontextmanager
    async def calling(
        self, name: str, arguments: Wire | None = None, **headers: str
    ) -> AsyncIterator[Called]:
        """Call a tool. Leaving the context hangs up."""
        params = {"name": name, "arguments": arguments or {}}
        message = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}
        sent = {**self.headers, **headers}
        async with self.http.stream("POST", self.url, json=message, headers=sent) as response:
            assert response.status_code == 200, await response.aread()
            yield Called(response.aiter_lines())


@asynccontextmanager
async def handshaken(
    url: str, capabilities: Wire, version: str = VERSION
) -> AsyncIterator[Handshaken]:
    """A client that has shaken hands."""
    async with httpx2.AsyncClient(timeout=10) as http:
        client = Handshaken(http, url, version=version)
        response = await client.post(handshake(capabilities, version))
        assert response.status_code == 200, response.text
        client.session = response.headers.get(SESSION, "")
        yield client
