"""`runplane invoke`: one query, streamed to the terminal."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn, TextIO

import click

from services.cli.render import Renderer
from services.cli.state import DEFAULT, StateFolder

TASK_FAILED: Final = 1
USAGE: Final = 2
NOT_CONNECTED: Final = 3
INTERRUPTED: Final = 130
STREAM: Final = "/v1/agent/stream"


@click.command()
@click.argument("query")
@click.option("--json", "as_json", is_flag=True, help="Print the events as they are, one a line.")
@click.option("--url", envvar="RUNPLANE_URL", help="The edge. Default: the suite that runs here.")
@click.option("--state", type=click.Path(path_type=Path), default=Path(DEFAULT), show_default=True)
@click.option("--model", help="The model to ask. Default: the suite's.")
@click.option(
    "--tool", "tools", multiple=True, help="A tool it may call, repeatable. Default: all."
)
@click.option("--timeout", type=float, default=300.0, show_default=True, help="Seconds.")
@click.option("--schema", type=click.File("rb"), help="A JSON Schema that the answer must match.")
def invoke(  # noqa: PLR0913, PLR0917 - one parameter for each option
    query: str,
    as_json: bool,
    url: str | None,
    state: Path,
    model: str | None,
    tools: tuple[str, ...],
    timeout: float,
    schema: TextIO | None,
) -> None:
    """Ask an agent QUERY and watch it think, call tools and answer. `-` reads the query from
    standard input. Ctrl-C cancels the task."""
    body: dict[str, object] = {"query": sys.stdin.read() if query == "-" else query}
    if model:
        body["model"] = model
    if tools:
        body["tools"] = list(tools)
    if schema is not None:
        body["response_schema"] = _schema(schema)
    body["timeout_ms"] = timeout * 1000
    target = url or StateFolder(state).url() or "http://127.0.0.1:8080"
    try:
        status = ask(target, body, as_json=as_json)
    except KeyboardInterrupt:
        click.echo("\ncanceled", err=True)
        sys.exit(INTERRUPTED)
    sys.exit(0 if status == "completed" else TASK_FAILED)


def ask(url: str, body: dict[str, object], *, as_json: bool) -> str:
    """Run a query against the edge at `url` and show it; the task's status at its end."""
    renderer = Renderer()
    for data in _events(url, body):
        event = json.loads(data)
        if as_json:
            click.echo(data)
        elif "type" in event:
            renderer.show(event)
        if event.get("type") == "task_complete":
            renderer.status = str(event.get("status", ""))
        if event.get("status") == "error" and "error_code" in event:
            _refused(event)
    return renderer.status


def _events(url: str, body: dict[str, object]) -> Iterator[str]:
    """The `data` of each server-sent event."""
    import httpx  # noqa: PLC0415 - takes 0.1 s, which `runplane up` need not pay

    limits = httpx.Timeout(10, read=None)
    is_connected = False
    try:
        with httpx.stream("POST", f"{url}{STREAM}", json=body, timeout=limits) as response:
            if response.status_code != 200:
                _refused(_error(response.read()))
            is_connected = True
            for line in response.iter_lines():
                if line.startswith("data:"):
                    yield line[5:].lstrip()
    except httpx.TransportError as error:
        broken = f"the connection to {url} broke ({error}); the task may have been canceled"
        nobody = f"no suite answers at {url} ({error}); start one with: runplane up"
        click.echo(broken if is_connected else nobody, err=True)
        sys.exit(NOT_CONNECTED)


def _error(content: bytes) -> dict[str, object]:
    try:
        error = json.loads(content)
    except ValueError:
        error = None
    return error if isinstance(error, dict) else {"message": "the edge's answer is not JSON"}


def _refused(error: dict[str, object]) -> NoReturn:
    fix = error.get("suggested_fix")
    click.echo(f"refused: {error.get('message')}" + (f" ({fix})" if fix else ""), err=True)
    sys.exit(TASK_FAILED)


def _schema(file: TextIO) -> object:
    try:
        return json.load(file)
    except ValueError as error:
        raise click.UsageError(f"--schema is not JSON: {error}") from None
