"""`runplane demo`: a suite on a free port, three queries, and an end."""

import asyncio
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


@click.command()
@click.option(
    "--engine", type=click.Choice(["llamacpp", "echo"]), default="llamacpp", show_default=True
)
def demo(engine: str) -> None:
    """Start a suite on a free port, ask it a few things, stop it."""
    with tempfile.TemporaryDirectory(prefix="runplane-demo-") as path:
        folder = StateFolder(Path(path))
        with folder.held():
            asyncio.run(_demo(folder, engine))


async def _demo(folder: StateFolder, engine: str) -> None:
    edge = ("127.0.0.1", free("127.0.0.1", taken=set()))
    options = Options(engine, None, "warning", event_store="memory:", grace=timedelta(seconds=5))
    async with started(folder, options, edge) as (plan, _):
        for query in QUERIES[engine]:
            click.echo(f"\n$ runplane invoke {quoted(query)}")
            await asyncio.to_thread(ask, plan.url, {"query": query}, as_json=False)
