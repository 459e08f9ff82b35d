"""`runplane invoke`: one query, streamed to the terminal."""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn, TextIO

import click

from services.cli import asking
from services.cli.edge import NOT_CONNECTED, at_edge, found, read, reason, refused, unreachable
from services.cli.plain import plain
from services.cli.render import Renderer

TASK_FAILED: Final = 1
INTERRUPTED: Final = 130
STREAM: Final = "/v1/agent/stream"
LONGEST_SECONDS: Final = 300.0


def _seconds(context: click.Context, option: click.Parameter, value: float) -> float:
    if not (math.isfinite(value) and 0 < value <= LONGEST_SECONDS):
        raise click.BadParameter(f"{value} is not above 0 and at most {LONGEST_SECONDS:g} seconds")
    return value


@click.command(
    epilog="Exit codes: 0 completed, 1 failed, canceled or refused, 2 wrong usage, "
    "3 no connection, 130 interrupted."
)
@click.argument("query")
@click.option("--json", "as_json", is_flag=True, help="Print the events as they are, one a line.")
@at_edge
@click.option("--model", help="The model to ask, or a route. Default: the suite's.")
@click.option(
    "--tool",
    "tools",
    multiple=True,
    metavar="NAME[@RANGE]",
    help="A tool it may call, or an agent as agent__NAME; repeatable. Default: all tools.",
)
@click.option(
    "--timeout",
    type=float,
    default=LONGEST_SECONDS,
    show_default=True,
    callback=_seconds,
    help="Seconds that the task may take, at most 300.",
)
@click.option("--schema", type=click.File("rb"), help="A JSON Schema that the answer must match.")
@click.option(
    "--cache",
    metavar="WORDS",
    help="What it says of cached answers: allow, no-cache, no-store, max-age=SECONDS, "
    "only-if-cached, with commas between.",
)
def invoke(  # noqa: PLR0913, PLR0917 - one parameter for each option
    query: str,
    as_json: bool,
    url: str | None,
    state: Path | None,
    model: str | None,
    tools: tuple[str, ...],
    timeout: float,
    schema: TextIO | None,
    cache: str | None,
) -> None:
    """Ask an agent QUERY and watch it think, call tools and answer. `-` reads the query from
    standard input. Ctrl-C cancels the task."""
    body: dict[str, object] = {"query": _query(query), "timeout_ms": timeout * 1000}
    if model:
        body["model"] = model
    if tools:
        body["tools"] = list(tools)
    if schema is not None:
        body["response_schema"] = _schema(schema)
    if cache:
        body["cache"] = cache
    sys.exit(0 if ask(found(url, state), body, as_json=as_json) == "completed" else TASK_FAILED)


def ask(url: str, body: dict[str, object], *, as_json: bool) -> str:
    """Run a query against the edge at `url` and show it; the task's status at its end."""
    shown = _Shown(url, as_json=as_json)
    try:
        for data in _events(url, body, shown):
            shown.add(data)
    except (KeyboardInterrupt, click.Abort):
        click.echo(f"\ncanceled {shown.task_id}".rstrip(), err=True)
        sys.exit(INTERRUPTED)
    return shown.renderer.status


class _Shown:
    """What was shown of a task so far."""

    def __init__(self, url: str, *, as_json: bool) -> None:
        self._can_ask = asking.at_terminal() and sys.stdout.isatty() and not as_json
        self.renderer = Renderer(url, prompts=self._can_ask)
        self.task_id = ""
        self._url = url
        self._as_json = as_json

    def add(self, data: str) -> None:
        """One event, or the error that ends the stream."""
        event = json.loads(data)
        self.task_id = event.get("task_id", self.task_id)
        if self._as_json:
            click.echo(data)
        elif "type" in event:
            self._show(event)
        if event.get("type") == "task_complete":
            self.renderer.status = str(event.get("status", ""))
        if event.get("status") == "error" and "error_code" in event:
            self.broke(str(event.get("message")))

    def _show(self, event: asking.Json) -> None:
        """An event; of a child that waits also what is asked there."""
        self.renderer.show(event)
        self._ask(event)
        if event.get("type") == asking.CHILD and event.get("status") == "waiting":
            for question in asking.questions(task(self._url, str(event.get("child_task_id")))):
                self._show(question)

    def _ask(self, event: asking.Json) -> None:
        """Let whoever sits at the terminal answer what a task waits for."""
        if self._can_ask and event["type"] in asking.ASKING and asking.can_prompt(event):
            answer = asking.prompted(event)
            if error := told(answer.path(self._url, str(event["task_id"])), answer.body):
                click.echo(f"not taken: {error}", err=True)

    def broke(self, why: str) -> NoReturn:
        """The stream ended before the task did."""
        where = f"{self._url}/v1/tasks/{self.task_id}"
        after = f"; what became of the task: {where}" if self.task_id else ""
        click.echo(f"the stream broke off: {plain(why)}{after}", err=True)
        sys.exit(NOT_CONNECTED)


def task(url: str, task_id: str) -> asking.Json:
    """A task as it stands; nothing where the edge does not say."""
    import httpx2  # noqa: PLC0415 - takes 0.1 s, which `runplane up` need not pay

    try:
        reply = httpx2.get(f"{url}/v1/tasks/{task_id}", timeout=10)
    except httpx2.TransportError:
        return {}
    return read(reply.content) if reply.status_code == 200 else {}


def told(url: str, body: asking.Json) -> str:
    """Tell a task something; why it did not take it, or nothing."""
    import httpx2  # noqa: PLC0415 - takes 0.1 s, which `runplane up` need not pay

    try:
        reply = httpx2.post(url, json=body, timeout=10)
    except httpx2.TransportError as error:
        return str(error)
    return "" if reply.status_code == 200 else reason(read(reply.content))


def _events(url: str, body: dict[str, object], shown: _Shown) -> Iterator[str]:
    """The `data` of each server-sent event."""
    import httpx2  # noqa: PLC0415 - takes 0.1 s, which `runplane up` need not pay

    limits = httpx2.Timeout(10, read=None)
    is_connected = False
    try:
        with httpx2.stream("POST", f"{url}{STREAM}", json=body, timeout=limits) as response:
            if response.status_code != 200:
                refused(read(response.read()))
            is_connected = True
            for line in response.iter_lines():
                if line.startswith("data:"):
                    yield line[5:].lstrip()
    except (httpx2.TransportError, httpx2.InvalidURL) as error:
        if is_connected:
            shown.broke(str(error))
        unreachable(url, error)


def _query(given: str) -> str:
    try:
        query = sys.stdin.buffer.read().decode() if given == "-" else given
        query.encode()
    except UnicodeError:
        raise click.UsageError("QUERY is not text in UTF-8") from None
    return query


def _schema(file: TextIO) -> object:
    try:
        return json.load(file)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"--schema is not JSON: {error}") from None
