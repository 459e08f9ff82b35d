"""`runplane batch`: many turns behind everybody who waits for one, from the terminal."""

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote

import click

from services.cli import batch_lines as lines
from services.cli.edge import Json, answered, at_edge, found
from services.cli.plain import plain
from services.cli.workflow_watch import FAILED, INTERRUPTED, followed

PAGE: Final = 100
END: Final = "batch_ended"

_BATCH: Final = click.argument("batch_id", metavar="BATCH")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@click.group(
    epilog="Exit codes: 0 done, 1 refused or not all completed, 2 wrong usage, 3 no connection."
)
def batch() -> None:
    """Have many turns generated, behind everybody who waits for one.

    \b
    runplane batch create questions.jsonl
    runplane batch watch BATCH
    runplane batch items BATCH > answers.jsonl
    """


def _duration(context: click.Context, option: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    number, unit = value[:-1], value[-1:]
    if not number.isdecimal() or unit not in _UNITS:
        raise click.BadParameter(f"{value} is no time: use 90s, 30m, 12h or 2d")
    return timedelta(seconds=int(number) * _UNITS[unit]) / timedelta(milliseconds=1)


@batch.command()
@click.argument("file", metavar="FILE", type=click.File("r", encoding="utf-8"))
@click.option("--model", help="The model, whatever the lines say.")
@click.option(
    "--within", metavar="TIME", callback=_duration, help="Such as 30m or 12h. Default: a day."
)
@click.option("--label", "labels", metavar="NAME=VALUE", multiple=True, help="To filter lists by.")
@click.option("--key", help="Do it once within 24 hours, however often it is sent.")
@click.option("--watch", "is_watched", is_flag=True, help="Show what happens until it ends.")
@at_edge
def create(  # noqa: PLR0913, PLR0917 - one parameter for each option
    file: IO[str],
    model: str | None,
    within: float | None,
    labels: Sequence[str],
    key: str | None,
    is_watched: bool,
    url: str | None,
    state: Path | None,
) -> None:
    """Start a batch of the lines of FILE (- reads standard input).

    A line is what the user says, as a JSON string; an item with messages, key, model, sampling,
    response_schema or prefix; or a line of an OpenAI batch file for /v1/chat/completions. All lines
    are looked at first. Where they are more than one batch takes (1,000), there are several.
    """
    try:
        portions = list(lines.batches(lines.items(file)))
    except (lines.Unusable, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file.name}: {error}") from None
    if not portions:
        raise click.UsageError(f"{file.name} has no lines")
    edge, started = found(url, state), []
    for number, portion in enumerate(portions, 1):
        body: dict[str, Any] = {
            "items": [{**each, "model": model} for each in portion] if model else portion,
            "labels": dict(map(_label, labels)),
            **({"model": model} if model else {}),
            **({"timeout_ms": within} if within else {}),
            **({"idempotency_key": f"{key}-{number}" if number > 1 else key} if key else {}),
        }
        said = answered(edge, "POST", "/v1/batches", body=body)
        click.echo(plain(lines.batch(said)))
        started.append(str(said.get("batch_id")))
    if is_watched:
        sys.exit(max(_ended(edge, each, after=0, as_json=False) for each in started))


@batch.command()
@_BATCH
@at_edge
def show(batch_id: str, url: str | None, state: Path | None) -> None:
    """Show a batch as JSON."""
    said = answered(found(url, state), "GET", _path(batch_id))
    click.echo(json.dumps(said, indent=2, ensure_ascii=False))


@batch.command("list")
@click.option(
    "--filter",
    "chosen",
    metavar="FILTER",
    help="Over status, model, owner, create_time, update_time and labels.NAME.",
)
@at_edge
def listed(chosen: str | None, url: str | None, state: Path | None) -> None:
    """List batches, the newest first, one a line."""
    for each in _pages(found(url, state), "/v1/batches", "batches", chosen):
        click.echo(plain(lines.batch(each)))


@batch.command(
    epilog="Exit codes: 0 all items completed, 1 not all, or refused, 2 wrong usage, "
    "3 no connection, 130 interrupted."
)
@_BATCH
@click.option("--after", type=click.IntRange(0), default=0, help="Only what came after this one.")
@click.option("--json", "as_json", is_flag=True, help="Print the events as they are, one a line.")
@at_edge
def watch(batch_id: str, after: int, as_json: bool, url: str | None, state: Path | None) -> None:
    """Show what happens to it, one a line, until it ends. Ctrl-C stops watching, and nothing else.
    A connection that breaks is taken up again."""
    sys.exit(_ended(found(url, state), batch_id, after=after, as_json=as_json))


@batch.command(short_help="Print its items in their order.")
@_BATCH
@click.option(
    "--filter", "chosen", metavar="FILTER", help="Over status, key, model and reason (of errors)."
)
@click.option("--openai", is_flag=True, help="As OpenAI's result files have them; only the ended.")
@at_edge
def items(
    batch_id: str, chosen: str | None, openai: bool, url: str | None, state: Path | None
) -> None:
    """Print its items in their order, a JSON object a line, also while it runs."""
    for each in _pages(found(url, state), f"{_path(batch_id)}/items", "items", chosen):
        shown = lines.openai(each) if openai else each
        if shown is not None:
            click.echo(json.dumps(shown, ensure_ascii=False))


@batch.command()
@_BATCH
@click.option("--reason", help="Why; it is kept with the batch.")
@at_edge
def cancel(batch_id: str, reason: str | None, url: str | None, state: Path | None) -> None:
    """Stop a batch. What ran keeps the text that it had."""
    body = {"reason": reason} if reason else {}
    said = answered(found(url, state), "POST", f"{_path(batch_id)}:cancel", body=body)
    click.echo(plain(lines.batch(said)))


@batch.command()
@_BATCH
@at_edge
def delete(batch_id: str, url: str | None, state: Path | None) -> None:
    """Delete a batch that has ended, with its items."""
    answered(found(url, state), "DELETE", _path(batch_id))
    click.echo(plain(f"{batch_id} deleted"))


def _ended(edge: str, batch_id: str, *, after: int, as_json: bool) -> int:
    """Show the events until the batch ends; the exit code that this makes."""
    code = 0
    try:
        for event in followed(edge, f"{_path(batch_id)}:watch", after):
            if event.get("type") == END:
                ended = event.get("batch") or {}
                counts = ended.get("counts") or {}
                code = 0 if counts.get("completed") == counts.get("total") else FAILED
            shown = json.dumps(event, ensure_ascii=False) if as_json else plain(lines.event(event))
            click.echo(shown)
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    return code


def _pages(edge: str, path: str, name: str, chosen: str | None) -> Iterator[Json]:
    query: dict[str, Any] = {"page_size": PAGE, **({"filter": chosen} if chosen else {})}
    while True:
        page = answered(edge, "GET", path, query=query)
        yield from page.get(name) or ()
        if not (token := page.get("next_page_token")):
            return
        query["page_token"] = token


def _label(given: str) -> tuple[str, str]:
    name, sign, value = given.partition("=")
    if not sign or not name:
        raise click.UsageError(f"{given} is no label: use NAME=VALUE")
    return name, value


def _path(batch_id: str) -> str:
    return f"/v1/batches/{quote(batch_id, safe='')}"
