"""`python -m benchmarks.servers KIND [PORT]`."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from benchmarks.servers import adding, llamacpp, web

KINDS: Final[dict[str, Callable[[int], None]]] = {
    "http": web.serve_http,
    "grpc": lambda port: asyncio.run(adding.serve_grpc(port)),
    "llamacpp": llamacpp.serve,
    "mcp": web.serve_mcp,
    "stdio": web.serve_stdio,
}

USAGE: Final = f"usage: python -m benchmarks.servers {'|'.join(KINDS)} [PORT]"


def main(kind: str = "", port: str = "0") -> None:
    """Serve until Ctrl-C."""
    if kind not in KINDS or not port.isdecimal():
        sys.exit(USAGE)
    with suppress(KeyboardInterrupt):
        KINDS[kind](int(port))


if __name__ == "__main__":
    main(*sys.argv[1:3])
