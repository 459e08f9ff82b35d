"""An MCP server whose tool asks somebody before it goes on.

    python examples/asking/server.py              over standard input and output
    python examples/asking/server.py --http 9001  over HTTP, at http://127.0.0.1:9001/mcp

It asks by what the tool's parameter says (`Resolve`), which works over every version of the
protocol. `ctx.elicit` sends a request of its own to the client, and 2026-07-28 has no way back for
one: there it fails.
"""

import argparse
from typing import Annotated, Literal

from mcp.server.mcpserver import Elicit, MCPServer, Resolve
from pydantic import BaseModel, Field

server = MCPServer("asking", version="1.0.0")


class Removal(BaseModel):
    """What somebody has to say before anything is removed."""

    sure: bool = Field(description="Whether it is to be removed.")
    keep: Literal["nothing", "a copy"] = Field(default="a copy", description="What stays.")
    days: int = Field(default=30, ge=1, le=365, description="How many days that stays.")


async def ask_removal(path: str) -> Elicit[Removal]:
    """The question. It gets the tool's argument of the same name."""
    return Elicit(f"Remove {path}?", Removal)


@server.tool()
async def remove(path: str, answer: Annotated[Removal, Resolve(ask_removal)]) -> str:
    """Removes a file, or acts as if, once somebody has said so."""
    if not answer.sure:
        return f"{path} is still there"
    kept = "" if answer.keep == "nothing" else f", and {answer.keep} stays {answer.days} days"
    return f"{path} is removed{kept}"


def main() -> None:
    """Serve until the input ends, or Ctrl-C."""
    parser = argparse.ArgumentParser(description="An MCP server that asks before it goes on.")
    parser.add_argument("--http", type=int, metavar="PORT", help="listen instead of stdio")
    port = parser.parse_args().http
    if port is None:
        server.run()
    else:
        server.run("streamable-http", host="127.0.0.1", port=port)


if __name__ == "__main__":
    main()
