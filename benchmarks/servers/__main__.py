"""`python -m benchmarks.servers KIND [PORT]`."""

import asyncio
import sys
from collections.abc import Callable
from typing import Final

from benchmarks.servers import adding, llamacpp, web

KINDS: Final[dict[str, Callable[[int], None]]] = {
    "http": web.serve_http,
    "grpc": lambda port: asyncio.run(adding.serve_grpc(port)),
    "llamacpp": llamacpp.serve,
    "mcp": web.serve_mcp,
    "stdio": web.serve_stdio,
}

if __name__ == "__main__":
    KINDS[sys.argv[1]](int(sys.argv[2]) if len(sys.argv) > 2 else 0)
