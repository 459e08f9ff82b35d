"""`runplane tools`: the tools of a running suite, from the terminal."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import quote

import click

from services.cli import asking
from services.cli.document import document
from services.cli.edge import REFUSED, Json, answered, at_edge, found, reason
from services.cli.plain import plain

PAGE: Final = 100
MARKS: Final[Mapping[str, str]] = {
    "requires_approval": "approval",
    "is_long_running": "long",
    "is_idempotent": "idempotent",
}


@click.group(
    epilog="Exit codes: 0 done, 1 refused, or the tool could not do it, 2 wrong usage, "
    "3 no connection."
)
def tools() -> None:
    """List, show, call and import the tools of a running suite.

    \b
    runplane tools list --filter 'kind = mcp'
    runplane tools show calculator
    runplane tools call calculator '{"expression": "12*7"}'
    runplane tools import petstore.json --namespace pets
    """


@tools.command("list")
@click.option(
    "--filter",
    "chosen",
    metavar="FILTER",
    help="Over name, kind (builtin, http, grpc, mcp, client), state (active, deprecated), owner, "
    "server and tags.NAME, such as 'kind = mcp AND tags.home = true'.",
)
@at_edge
def listed(chosen: str | None, url: str | None, state: Path | None) -> None:
    """List the newest versions of tools, one a line."""
    rows = [_row(tool) for tool in _pages(found(url, state), chosen)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:3]
    for *cells, about in rows:
        aligned = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        click.echo(plain("  ".join([*aligned, about])).rstrip())


@tools.command(short_help="Show a tool as JSON.")
@click.argument("name", metavar="NAME[@RANGE]")
@at_edge
def show(name: str, url: str | None, state: Path | None) -> None:
    """Show a tool as JSON: NAME, or the newest version that a RANGE such as ^1.2 allows."""
    tool, _, version = name.partition("@")
    query = {"version": version} if version else None
    said = answered(found(url, state), "GET", _path(tool), query=query)
    click.echo(json.dumps(said, indent=2, ensure_ascii=False))


@tools.command(short_help="Call a tool, and print its result as JSON.")
@click.argument("name", metavar="NAME[@RANGE]")
@click.argument("given", metavar="[JSON]", default="{}")
@at_edge
def call(name: str, given: str, url: str | None, state: Path | None) -> None:
    """Call a tool with JSON as its input, and print its result as JSON. `-` reads the input from
    standard input. A tool that asks for something first asks in the terminal."""
    tool, _, version = name.partition("@")
    body = {"input": _input(given), **({"version": version} if version else {})}
    said = _called(found(url, state), tool, body)
    if said.get("status") != "success":
        _failed(said.get("error") or {"message": f"it answers {said.get('status')}"})
    result = said.get("result")
    shown = said["content"] if result is None and said.get("content") else result
    click.echo(json.dumps(shown, ensure_ascii=False))


@tools.command("import", short_help="Make tools of the operations of an OpenAPI document.")
@click.argument("file", type=click.File("rb"))
@click.option("--namespace", required=True, help="Begins the name of each tool, before __.")
@click.option("--base-url", metavar="URL", help="Default: the document's first server.")
@at_edge
def imported(
    file: Any, namespace: str, base_url: str | None, url: str | None, state: Path | None
) -> None:
    """Make a tool of each operation of an OpenAPI document in FILE, JSON or YAML (- for standard
    input). Importing again follows the document."""
    body = {"namespace": namespace, "document": document(file.read())}
    if base_url:
        body["base_url"] = base_url
    said = answered(found(url, state), "POST", "/v1/tools:importOpenApi", body=body)
    for each in said.get("operations") or ():
        name = "  ".join(filter(None, (each["tool_name"], each["tool_version"])))
        line = "  ".join(filter(None, (f"{each['outcome']:<10}", each["operation"], name)))
        click.echo(plain(line + (f": {each['reason']}" if each["reason"] else "")))


def _called(url: str, tool: str, body: Json) -> Json:
    """What comes of a call, once the tool has been answered all that it asks for."""
    if asking.at_terminal():
        body = {**body, "capabilities": {"elicitation": {}}}
    while True:
        said = answered(url, "POST", f"{_path(tool)}:call", body=body)
        for warning in said.get("warnings") or ():
            click.echo(plain(f"! {warning.get('message')}"), err=True)
        if said.get("status") != "input_required":
            return said
        given = {"input_responses": _answers({**said, "tool_name": tool})}
        body = {**body, **given, "request_state": said.get("request_state") or ""}


def _answers(question: Json) -> Json:
    """What a person says to a tool that asks."""
    for line in asking.lines(question):
        click.secho(plain(line), fg="yellow", err=True)
    if not asking.can_prompt(question):
        fix = "call it over HTTP, with input_responses of that shape"
        _failed({"message": "a terminal cannot answer that", "suggested_fix": fix})
    given = asking.responses(question)
    return asking.declined(question) if given is None else given


def _pages(url: str, chosen: str | None) -> Iterator[Json]:
    query: dict[str, Any] = {"page_size": PAGE, **({"filter": chosen} if chosen else {})}
    while True:
        page = answered(url, "GET", "/v1/tools", query=query)
        yield from page.get("tools") or ()
        if not (token := page.get("next_page_token")):
            return
        query["page_token"] = token


def _row(tool: Json) -> tuple[str, str, str, str]:
    """Name, version, kind, and what it does with what is to be known of it."""
    kind = str(tool.get("kind")).removeprefix("TOOL_KIND_").lower()
    marks = [word for field, word in MARKS.items() if tool.get(field)]
    if tool.get("state") == "TOOL_STATE_DEPRECATED":
        marks.append("deprecated")
    if tool.get("unavailable"):
        marks.append("unavailable")
    about = str(tool.get("description")).strip().partition("\n")[0]
    shown = f"{about} [{', '.join(marks)}]" if marks else about
    return str(tool.get("name")), str(tool.get("version")), kind, shown


def _path(name: str) -> str:
    return f"/v1/tools/{quote(name, safe='')}"


def _input(given: str) -> object:
    try:
        return json.loads(sys.stdin.buffer.read() if given == "-" else given)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"the input is not JSON: {error}") from None


def _failed(error: Json) -> NoReturn:
    click.echo(f"{error.get('reason', 'failed')}: {reason(error)}", err=True)
    sys.exit(REFUSED)
