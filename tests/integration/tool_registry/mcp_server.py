"""An MCP server with a bit of everything, by the official SDK: in this process, or as a program.

`python mcp_server.py [legacy]` speaks over its standard input and output.
"""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Annotated, Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp_types import Completion, ImageContent, TextContent, ToolAnnotations
from pydantic import BaseModel


class Sum(BaseModel):
    """A sum."""

    sum: int


class Name(BaseModel):
    """Who somebody is."""

    name: str


async def ask_name() -> Elicit[Name]:
    """Asks for a name."""
    return Elicit("Who are you?", Name)


def everything(name: str = "everything") -> MCPServer:
    """The server."""
    server = MCPServer(name, version="1.2.3")
    for add in (_plain, _telling, _waiting, _asking, _resources):
        add(server)
    return server


def _plain(server: MCPServer) -> None:
    @server.tool(annotations=ToolAnnotations(idempotent_hint=True, title="Add two numbers"))
    def add(a: int, b: int) -> Sum:
        """Add two numbers and say what they make."""
        return Sum(sum=a + b)

    @server.tool(structured_output=False)
    def greet(name: str) -> str:
        """Greet somebody by their name, as a text."""
        return f"Hello {name}"

    @server.tool(structured_output=False)
    def picture() -> list[Any]:
        """Draw a picture, and say something about it."""
        image = ImageContent(data="aGk=", mime_type="image/png")
        return [TextContent(text="a picture"), image]

    @server.tool()
    def fail() -> str:
        """Fail in any case, with a reason."""
        raise ToolError("no such thing; try another")

    @server.tool()
    def large(megabytes: int) -> str:
        """Answer so many megabytes of text."""
        return "x" * megabytes * 1_000_000

    @server.tool()
    def environment() -> dict[str, str]:
        """Say which environment variables there are."""
        return dict(os.environ)


def _telling(server: MCPServer) -> None:
    @server.tool()
    def meta(ctx: Context) -> dict[str, Any]:
        """Say what came along with the call, in `_meta`."""
        said = ctx.request_context.meta or {}
        return {"meta": dict(said)}

    @server.tool()
    async def work(ctx: Context) -> str:
        """Work for a while and tell how far it is."""
        await ctx.report_progress(1, 2, "half of it")
        await ctx.info("working")
        return "done"


def _waiting(server: MCPServer) -> None:
    running: list[str] = []

    @server.tool()
    async def wait() -> str:
        """Wait until the call is cancelled, and remember that it was."""
        running.append("started")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            running.append("cancelled")
            raise
        return "waited"

    @server.tool()
    def waits() -> list[str]:
        """Say what became of the calls that waited."""
        return running


def _asking(server: MCPServer) -> None:
    @server.tool()
    async def introduce(who: Annotated[Name, Resolve(ask_name)]) -> str:
        """Ask who somebody is and introduce them."""
        return f"This is {who.name}"

    @server.tool()
    async def learn(ctx: Context) -> str:
        """Get one more tool, and say so to whoever listens."""

        def learned() -> str:
            """Show what was learned since."""
            return "learned"

        server.add_tool(learned)
        await ctx.notify_tools_changed()
        if ctx.protocol_version and ctx.protocol_version < "2026":
            await ctx.session.send_tool_list_changed()
        return "ok"


def _resources(server: MCPServer) -> None:
    @server.resource("notes://first", mime_type="text/plain")
    def first() -> str:
        """The first note."""
        return "one"

    @server.resource("notes://{number}/text")
    def note(number: str) -> str:
        """Some note."""
        return f"note {number}"

    @server.resource("notes://large")
    def large_note() -> str:
        """A note that is too large."""
        return "x" * 3_000_000

    @server.prompt()
    def summary(topic: str, style: str = "short") -> str:
        """Summarise a topic."""
        return f"Summarise {topic}, {style}."

    @server.completion()
    async def complete(ref: Any, argument: Any, context: Any) -> Any:
        values = [each for each in ("long", "short") if each.startswith(argument.value)]
        return Completion(values=values, total=len(values), has_more=False)


@asynccontextmanager
async def over_http(
    server: MCPServer, *, port: int = 0, is_json: bool = False, is_old: bool = False
) -> AsyncIterator[str]:
    """Its URL, while it is served here."""
    plain = server.streamable_http_app(json_response=is_json)
    app = _old(plain) if is_old else plain
    listening = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=0, lifespan="on")
    running = uvicorn.Server(config)
    running.capture_signals = nullcontext  # type: ignore[method-assign]
    task = asyncio.create_task(running.serve(sockets=[listening]))
    try:
        while not running.started:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
    finally:
        running.should_exit = running.force_exit = True
        await asyncio.wait([task], timeout=5)
        listening.close()


def _old(app: Any) -> Any:
    """As a server that has never heard of `server/discover`."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", []))
        if headers.get(b"mcp-method") == b"server/discover":
            start = {"type": "http.response.start", "status": 400, "headers": []}
            await send(start)
            await send({"type": "http.response.body", "body": b"what?"})
        else:
            await app(scope, receive, send)

    return serve


if __name__ == "__main__":
    if "shout" in sys.argv:
        sys.stderr.write("x" * 10_000_000)
    everything().run()
