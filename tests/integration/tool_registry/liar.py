"""An HTTP server on loopback that answers as an MCP server must not."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

VERSION = "2026-07-28"
TOOL = {"name": "lie", "description": "Lies.", "inputSchema": {"type": "object"}}

Wire = Callable[[asyncio.StreamWriter, Any], Awaitable[None]]
"""Writes a whole HTTP answer to the request with this id."""
Answer = Mapping[str, Any] | Wire


def result(**members: Any) -> dict[str, Any]:
    """A complete result that must not be cached."""
    return {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", **members}


def discovered(*versions: str) -> dict[str, Any]:
    """What a server says of itself."""
    capabilities = {"tools": {}, "resources": {}, "prompts": {}}
    return result(supportedVersions=versions or [VERSION], capabilities=capabilities)


def error(code: int, message: str) -> dict[str, Any]:
    """A JSON-RPC error instead of a result."""
    return {"__error__": {"code": code, "message": message}}


@dataclass
class Liar:
    """Answers by method; what is not said is an empty list."""

    answers: dict[str, Answer | Callable[[Mapping[str, Any]], Answer]] = field(default_factory=dict)
    url: str = ""
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self.open.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._answer(reader, writer):
                await writer.drain()
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        request = json.loads(body or b"{}")
        method = request.get("method", head[0].partition(" ")[0])
        self.asked.append(method)
        self.headers.append(headers)
        found = self.answers.get(method, DEFAULTS.get(method, error(-32601, "no such method")))
        if callable(found) and method not in WIRES:
            found = found(request.get("params", {}))  # type: ignore[call-arg, arg-type]
        if callable(found):
            await found(writer, request.get("id"))  # type: ignore[call-arg]
            return False
        said = dict(found)
        problem = said.pop("__error__", None)
        outcome = {"result": said} if problem is None else {"error": problem}
        text(writer, json.dumps({"jsonrpc": "2.0", "id": request.get("id"), **outcome}).encode())
        return True


DEFAULTS: dict[str, Answer] = {
    "server/discover": discovered(),
    "tools/list": result(tools=[TOOL]),
    "resources/list": result(resources=[]),
    "resources/templates/list": result(resourceTemplates=[]),
    "prompts/list": result(prompts=[]),
}
WIRES = {"tools/call", "resources/read"}
"""Methods whose answers are written by hand."""


def text(
    writer: asyncio.StreamWriter,
    body: bytes,
    *,
    kind: str = "application/json",
    status: int = 200,
    length: int | None = None,
) -> None:
    """An HTTP answer."""
    size = len(body) if length is None else length
    head = f"HTTP/1.1 {status} OK\r\ncontent-type: {kind}\r\ncontent-length: {size}\r\n\r\n"
    writer.write(head.encode() + body)


@asynccontextmanager
async def liar(**answers: Any) -> AsyncIterator[Liar]:
    """Such a server; names of methods with `_` for `/`."""
    running = Liar({name.replace("__", "/"): answer for name, answer in answers.items()})
    server = await asyncio.start_server(running.serve, "127.0.0.1", 0)
    running.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
    try:
        yield running
    finally:
        server.close()
        for writer in running.open:
            writer.close()
