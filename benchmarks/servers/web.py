"""The same over HTTP and over MCP, with the server that the edge has."""

import json
import socket
import sys
from typing import Any, Final

import uvicorn
from mcp.server.mcpserver import MCPServer

from benchmarks.servers.adding import HOST, add
from services.tool_registry.adapters.builtin.calculator import Calculator
from services.tool_registry.ports import Invocation

_CALCULATOR: Final = Calculator()


async def _app(scope: Any, receive: Any, send: Any) -> None:
    """`POST /add`, with as little as ASGI has."""
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    content = json.dumps({"sum": add(**json.loads(body))}).encode()
    length = (b"content-length", str(len(content)).encode())
    headers = [(b"content-type", b"application/json"), length]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def mcp_server() -> MCPServer[Any]:
    """The official SDK's own server: it adds, and calculates as our own tool does."""
    server: MCPServer[Any] = MCPServer("adding", log_level="ERROR")
    server.tool()(add)

    @server.tool()
    async def calculator(expression: str) -> dict[str, Any]:
        """Calculates."""
        value: Any = (await _CALCULATOR.call(Invocation({"expression": expression}))).value
        return dict(value)

    return server


def serve_http(port: int) -> None:
    """Until it is ended."""
    _serve(_app, port, "/add")


def serve_mcp(port: int) -> None:
    """Streamable HTTP, stateless, until it is ended."""
    _serve(mcp_server().streamable_http_app(stateless_http=True, json_response=True), port, "/mcp")


def serve_stdio(port: int) -> None:
    """Standard input and output, until the input ends."""
    mcp_server().run("stdio")


def _serve(app: Any, port: int, path: str) -> None:
    quiet = {"log_level": "error", "access_log": False}
    server = uvicorn.Server(uvicorn.Config(app, loop="uvloop", http="httptools", **quiet))
    with socket.create_server((HOST, port)) as bound:
        host, its_port = bound.getsockname()
        sys.stderr.write(f"http://{host}:{its_port}{path} serves until Ctrl-C\n")
        server.run(sockets=[bound])
