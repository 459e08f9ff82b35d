"""`runplane demo`: a suite on a free port, an MCP server for it, some queries, and an end."""

import asyncio
import json
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Final

import click

from services.cli.invoke import ask
from services.cli.ports import free
from services.cli.state import StateFolder
from services.cli.suite import Options
from services.cli.up import SCRIPT, quoted, started

QUERIES: Final = {
    "llamacpp": ("What is 12*7?", "Convert 100 fahrenheit to celsius.", "Who wrote Hamlet?"),
    "echo": (SCRIPT, "thought:I only repeat.\nHello!"),
}
WEATHER: Final = Path(__file__).parents[2] / "examples" / "weather" / "server.py"
WEATHER_QUERIES: Final = {
    "llamacpp": "What is the weather in London?",
    "echo": 'tool:weather__weather_query {"location": "London", "unit": "celsius"}\nIt rains.',
}


@click.command()
@click.option(
    "--engine",
    type=click.Choice(["llamacpp", "echo"]),
    default="llamacpp",
    show_default=True,
    help="What answers: an embedded model, or `echo`, which needs none.",
)
def demo(engine: str) -> None:
    """Start a suite on a free port, ask it a few things, stop it.

    The last question is for a tool of an MCP server, which is registered first. Nothing is kept.
    """
    with tempfile.TemporaryDirectory(prefix="runplane-demo-") as path:
        folder = StateFolder(Path(path))
        with folder.held():
            asyncio.run(_demo(folder, engine))


async def _demo(folder: StateFolder, engine: str) -> None:
    edge = ("127.0.0.1", free("127.0.0.1", taken=set()))
    options = Options(engine, None, "warning", event_store="memory:", grace=timedelta(seconds=5))
    async with started(folder, options, edge) as (plan, _):
        queries = QUERIES[engine]
        if await asyncio.to_thread(_register, plan.url):
            queries += (WEATHER_QUERIES[engine],)
        for query in queries:
            click.echo(f"\n$ runplane invoke {quoted(query)}")
            await asyncio.to_thread(ask, plan.url, {"query": query}, as_json=False)


def _register(url: str) -> bool:
    """Register the example of an MCP server; not where Runplane is installed without examples."""
    import httpx2  # noqa: PLC0415 - takes 0.1 s, which `runplane up` need not pay

    if not WEATHER.is_file():
        return False
    command = {"program": sys.executable, "arguments": [str(WEATHER)]}
    body = {"namespace": "weather", "command": command}
    answer = httpx2.post(f"{url}/v1/mcp-servers", json=body, timeout=20)
    if answer.status_code != 200:
        raise click.ClickException(f"the weather server was refused: {answer.text}")
    server = answer.json()
    said = {key: server.get(key) for key in ("state", "protocol_version", "tool_count", "problem")}
    shown = {key: value for key, value in said.items() if value}
    click.echo(f"\n$ curl {url}/v1/mcp-servers --json '{json.dumps(body)}'\n{json.dumps(shown)}")
    return True
