"""`runplane workflow`: workflows of a running suite, from the terminal."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote

import click

from services.cli import workflow_lines as lines
from services.cli.edge import REFUSED, Json, answered, at_edge, found
from services.cli.plain import plain
from services.cli.workflow_problems import MOST, named, wrong_in
from services.cli.workflow_watch import ended

PAGE: Final = 100


_WORKFLOW: Final = click.argument("workflow_id", metavar="WORKFLOW")
_TARGET: Final = click.argument("target", metavar="[STATE]", required=False)
_PAYLOAD: Final = click.option(
    "--payload", metavar="JSON", help="What is merged into the workflow's data; - reads it."
)
_EXPECTED: Final = click.option("--expected-state", help="Refuse it, unless it is in this state.")
_KEY: Final = click.option("--key", help="Do it once within 24 hours, however often it is sent.")
_COMMENT: Final = click.option("--comment", help="Why; it is kept in the log.")
_REASON: Final = click.option("--reason", help="Why; it is kept in the log.")


@click.command()
@click.argument("files", metavar="FILE...", type=click.File("rb"), nargs=-1, required=True)
@at_edge
def define(files: Sequence[IO[bytes]], url: str | None, state: Path | None) -> None:
    """Store definitions of FILEs. They are checked first, as `validate` does, and stored when all
    are valid (- reads standard input): each as the next version of its name; one that is the newest
    already stays that."""
    for text in _valid(files):
        said = answered(found(url, state), "POST", "/v1/definitions", body={"yaml": text})
        click.echo(plain(f"{said.get('name')}@{said.get('version')}"))
        for warning in said.get("warnings") or ():
            click.echo(plain(f"! {warning.get('message')}"), err=True)


@click.command()
@click.argument("definition", metavar="DEFINITION[@VERSION]")
@click.argument("data", metavar="[JSON]", default="{}")
@click.option("--correlation-id", help="What events from outside find it by. Default: its id.")
@click.option("--label", "labels", metavar="NAME=VALUE", multiple=True, help="To filter lists by.")
@_KEY
@click.option("--watch", "is_watched", is_flag=True, help="Show its events until it ends.")
@at_edge
def start(  # noqa: PLR0913, PLR0917 - one parameter for each option
    definition: str,
    data: str,
    correlation_id: str | None,
    labels: Sequence[str],
    key: str | None,
    is_watched: bool,
    url: str | None,
    state: Path | None,
) -> None:
    """Start a workflow of a definition. JSON is its data (- reads standard input)."""
    name, _, version = definition.partition("@")
    if version and not version.isdecimal():
        raise click.UsageError(f"{version} is no version: use a whole number")
    body = _said(
        definition=name,
        version=int(version or 0),
        data=_object("the data", data),
        correlation_id=correlation_id,
        idempotency_key=key,
        labels=dict(_label(each) for each in labels),
    )
    edge = found(url, state)
    said = answered(edge, "POST", "/v1/workflows", body=body)
    click.echo(plain(lines.workflow(said)))
    if is_watched:
        sys.exit(ended(edge, str(said.get("workflow_id")), as_json=False))


@click.command()
@_WORKFLOW
@at_edge
def show(workflow_id: str, url: str | None, state: Path | None) -> None:
    """Show a workflow as JSON."""
    said = answered(found(url, state), "GET", _path(workflow_id))
    click.echo(json.dumps(said, indent=2, ensure_ascii=False))


@click.command("list")
@click.option(
    "--filter",
    "chosen",
    metavar="FILTER",
    help="Over definition, version, status, current_state, correlation_id, owner, "
    "parent_workflow_id, create_time, update_time and labels.NAME, such as "
    "'status = waiting AND definition = order_saga'.",
)
@at_edge
def listed(chosen: str | None, url: str | None, state: Path | None) -> None:
    """List workflows, the newest first, one a line."""
    for each in _pages(found(url, state), chosen):
        click.echo(plain(lines.workflow(each)))


@click.command()
@_WORKFLOW
@_TARGET
@click.option("--event", metavar="NAME", help="What happened, instead of the STATE to go to.")
@_PAYLOAD
@_EXPECTED
@_KEY
@at_edge
def signal(  # noqa: PLR0913, PLR0917 - one parameter for each option
    workflow_id: str,
    target: str | None,
    event: str | None,
    payload: str | None,
    expected_state: str | None,
    key: str | None,
    url: str | None,
    state: Path | None,
) -> None:
    """Tell a workflow to go to STATE, or what happened."""
    if bool(target) == bool(event):
        raise click.UsageError("name the STATE to go to, or what happened as --event")
    _tell(
        found(url, state),
        workflow_id,
        "signal",
        target=target,
        event=event,
        payload=_object("the payload", payload) if payload else None,
        expected_state=expected_state,
        idempotency_key=key,
    )


def _decision(verb: str, about: str) -> click.Command:
    """The command that makes a decision."""

    @click.command(verb, help=about)
    @_WORKFLOW
    @_TARGET
    @_COMMENT
    @_PAYLOAD
    @_EXPECTED
    @_KEY
    @at_edge
    def decide(  # noqa: PLR0913, PLR0917 - one parameter for each option
        workflow_id: str,
        target: str | None,
        comment: str | None,
        payload: str | None,
        expected_state: str | None,
        key: str | None,
        url: str | None,
        state: Path | None,
    ) -> None:
        _tell(
            found(url, state),
            workflow_id,
            verb,
            target=target,
            comment=comment,
            payload=_object("the payload", payload) if payload else None,
            expected_state=expected_state,
            idempotency_key=key,
        )

    return decide


def _ending(verb: str, about: str) -> click.Command:
    """The command that ends a workflow, or undoes it."""

    @click.command(verb, help=about)
    @_WORKFLOW
    @_REASON
    @at_edge
    def end(workflow_id: str, reason: str | None, url: str | None, state: Path | None) -> None:
        _tell(found(url, state), workflow_id, verb, reason=reason)

    return end


approve = _decision(
    "approve", "Decide for what is asked. The workflow goes to STATE, or the one way."
)
reject = _decision(
    "reject", "Decide against what is asked. The workflow goes to STATE, or where a no leads."
)
cancel = _ending("cancel", "Stop a workflow, and undo what it did.")
compensate = _ending(
    "compensate",
    "Undo what an ended workflow did. A compensation that failed goes on where it stopped.",
)


@click.command(
    epilog="Exit codes: 0 completed, 1 ended otherwise or refused, 2 wrong usage, "
    "3 no connection, 130 interrupted."
)
@_WORKFLOW
@click.option("--after", type=click.IntRange(0), default=0, help="Only what came after this one.")
@click.option("--json", "as_json", is_flag=True, help="Print the events as they are, one a line.")
@at_edge
def watch(workflow_id: str, after: int, as_json: bool, url: str | None, state: Path | None) -> None:
    """Show its events as they happen, one a line, until it ends. Ctrl-C stops watching, and nothing
    else. A connection that breaks is taken up again."""
    sys.exit(ended(found(url, state), workflow_id, after=after, as_json=as_json))


@click.command(
    epilog="Exit codes: 0 consistent, 1 not, or refused, 2 wrong usage, 3 no connection."
)
@_WORKFLOW
@at_edge
def verify(workflow_id: str, url: str | None, state: Path | None) -> None:
    """Check the events of a workflow. It reads them again: whether they are whole, and lead to what
    is shown of it."""
    said = answered(found(url, state), "POST", f"{_path(workflow_id)}:verify", body={})
    word = "consistent" if said.get("consistent") else "not consistent"
    click.echo(plain(f"{said.get('workflow_id')}  {said.get('events')} events, {word}"))
    for problem in said.get("problems") or ():
        repaired = ", repaired" if problem.get("is_repaired") else ""
        at = f" at {problem.get('sequence')}" if problem.get("sequence") else ""
        click.echo(plain(f"! {problem.get('kind')}{at}{repaired}: {problem.get('message')}"))
    if not said.get("consistent"):
        sys.exit(REFUSED)


COMMANDS: Final[Sequence[click.Command]] = (
    define,
    start,
    show,
    listed,
    signal,
    approve,
    reject,
    cancel,
    compensate,
    watch,
    verify,
)


def _valid(files: Sequence[IO[bytes]]) -> Sequence[str]:
    """The texts of all files. One that is not valid ends the command."""
    texts = [file.read(MOST) for file in files]
    pairs = zip(files, texts, strict=True)
    wrong = [line for file, text in pairs for line in wrong_in(named(file), text)]
    for line in wrong:
        click.echo(plain(line), err=True)
    if wrong:
        sys.exit(REFUSED)
    return [text.decode() for text in texts]


def _tell(edge: str, workflow_id: str, verb: str, **fields: object) -> None:
    said = answered(edge, "POST", f"{_path(workflow_id)}:{verb}", body=_said(**fields))
    click.echo(plain(lines.workflow(said)))


def _pages(edge: str, chosen: str | None) -> Iterator[Json]:
    query: dict[str, Any] = {"page_size": PAGE, **({"filter": chosen} if chosen else {})}
    while True:
        page = answered(edge, "GET", "/v1/workflows", query=query)
        yield from page.get("workflows") or ()
        if not (token := page.get("next_page_token")):
            return
        query["page_token"] = token


def _said(**fields: object) -> dict[str, object]:
    """What was said, without what was not."""
    return {name: value for name, value in fields.items() if value}


def _label(given: str) -> tuple[str, str]:
    name, sign, value = given.partition("=")
    if not sign or not name:
        raise click.UsageError(f"{given} is no label: use NAME=VALUE")
    return name, value


def _object(what: str, given: str) -> object:
    try:
        value = json.loads(sys.stdin.buffer.read() if given == "-" else given)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{what} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise click.UsageError(f"{what} is no JSON object")
    return value


def _path(workflow_id: str) -> str:
    return f"/v1/workflows/{quote(workflow_id, safe='')}"
