"""`runplane up`: a whole suite on this machine, until Ctrl-C."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Final

import click

from services.cli.display import Display
from services.cli.ports import is_free
from services.cli.state import DEFAULT, StateFolder
from services.cli.suite import MODULES, Options, Plan, planned, programs
from services.cli.supervisor import Backoff, Child, Listener, StartFailed, supervised

QUESTION: Final = '{"query": "What is 12*7?"}'


@click.command()
@click.option(
    "--engine",
    type=click.Choice(["llamacpp", "echo"]),
    default="llamacpp",
    show_default=True,
    help="What answers: an embedded model, or `echo`, which needs none.",
)
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="A GGUF file. Default: SmolLM2-135M-Instruct, which `make install` brings.",
)
@click.option("--port", type=click.IntRange(1, 65_535), default=8080, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the edge listens.")
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(DEFAULT),
    show_default=True,
    help="Keys, logs and where the suite listens.",
)
@click.option("--grace", type=float, default=20.0, show_default=True, help="Seconds to stop in.")
@click.option("--verbose", is_flag=True, help="Show every line that the services log.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
)
def up(  # noqa: PLR0913, PLR0917 - one parameter for each option
    engine: str,
    model: Path | None,
    port: int,
    host: str,
    state: Path,
    grace: float,
    verbose: bool,
    log_level: str,
) -> None:
    """Start a suite: the services, each as its own process, and the edge.

    Several suites run side by side with a --port and a --state each.
    """
    folder = StateFolder(state)
    with folder.held():
        options = Options(engine, model, log_level, grace=timedelta(seconds=grace))
        asyncio.run(_up(folder, options, (host, port), verbose=verbose))


async def _up(
    folder: StateFolder, options: Options, edge: tuple[str, int], *, verbose: bool
) -> None:
    began = monotonic()
    stopping = asyncio.Event()
    async with started(folder, options, edge, verbose=verbose) as (plan, children):
        _on_signals(stopping, children)
        _welcome(plan, monotonic() - began)
        await stopping.wait()
        click.echo("stopping …")


@asynccontextmanager
async def started(
    folder: StateFolder,
    options: Options,
    edge: tuple[str, int],
    *,
    verbose: bool = False,
) -> AsyncIterator[tuple[Plan, Sequence[Child]]]:
    """A running suite; its children stop when the context is left.

    Raises:
        ClickException: the port is taken, or a service cannot start; says why and what to do.
    """
    host, port = edge
    if not is_free(host, port):
        raise click.ClickException(
            f"port {port} on {host} is taken; stop what uses it, or choose another: "
            f"runplane up --port {port + 10 if port < 65_000 else port - 10}"
        )
    plan = planned(host, port)
    chosen = replace(options, page_token_key=folder.key("page_token_key"))
    display = Display(list(MODULES), folder.logs, verbose=verbose)
    listener = Listener(display.line, display.say)
    children = [Child(each, listener, Backoff()) for each in programs(plan, chosen)]
    if options.engine == "llamacpp":
        display.say("inference", "loading the model …")
    try:
        async with supervised(children, grace=options.grace):
            folder.announce(_run(plan, children))
            yield plan, children
    except* StartFailed as failures:
        words = "\n".join(dict.fromkeys(str(each) for each in failures.exceptions))
    else:
        return
    finally:
        display.close()
    raise click.ClickException(words)


def _run(plan: Plan, children: Sequence[Child]) -> dict[str, object]:
    pids = {
        child.program.name: child.process.pid for child in children if child.process is not None
    }
    grpc = {name: plan.address(name) for name in plan.grpc}
    admin = {name: f"127.0.0.1:{port}" for name, port in plan.admin.items()}
    return {"url": plan.url, "grpc": grpc, "admin": admin, "pid": os.getpid(), "pids": pids}


def _on_signals(stopping: asyncio.Event, children: Sequence[Child]) -> None:
    def stop() -> None:
        if stopping.is_set():
            click.echo("killing what still runs")
            for child in children:
                child.kill()
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)


def _welcome(plan: Plan, seconds: float) -> None:
    addresses = ", ".join(f"{name} {plan.address(name)}" for name in plan.grpc)
    click.echo(
        f"\n{click.style('Runplane is ready', bold=True)} in {seconds:.1f} s: {plan.url}\n"
        f"gRPC: {addresses}\n\n"
        "Watch an agent think, call a tool and answer:\n\n"
        f"  curl -N {plan.url}/v1/agent/stream -H 'content-type: application/json' \\\n"
        f"    -d '{QUESTION}'\n\n"
        'or, from another terminal: runplane invoke "What is 12*7?"\n'
        "Ctrl-C stops the suite.\n"
    )
