"""`runplane config`: the settings that each service has, and where they are from."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from services.cli.inspecting import OF_UP, Answer, Environment, asked, environments
from services.cli.plain import plain
from services.cli.state import DEFAULT
from services.cli.suite import MODULES

FAULTY: Final = 1
NARROWEST: Final = 40

services_option: Final = click.option(
    "--service",
    "chosen",
    multiple=True,
    type=click.Choice(tuple(MODULES)),
    help="Of this service only; may be given again. Default: all of them.",
)
state_option: Final = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(DEFAULT),
    show_default=True,
    help="The folder of the suite, where RUNPLANE_PAGE_TOKEN_KEY is not set: what `runplane up` "
    "tells the services counts too.",
)


@click.command(epilog="Exit codes: 0 done, 1 settings are wrong, 2 wrong usage.")
@services_option
@click.option("--changed", is_flag=True, help="Only those that are not the default.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@state_option
def config(chosen: tuple[str, ...], changed: bool, as_json: bool, state: Path) -> None:
    """Show the settings that services have, and where each is from. Secrets are masked.

    \b
    runplane config --changed
    runplane config --service inference
    """
    told = environments(state, chosen or tuple(MODULES))
    answers = asyncio.run(asked("config", told))
    for name, answer in answers.items():
        answer["settings"] = list(_rows(answer, told[name], changed=changed))
    if as_json:
        click.echo(json.dumps({"services": answers}, indent=2, ensure_ascii=False))
    else:
        _print(answers)
    if any(answer["faults"] for answer in answers.values()):
        raise SystemExit(FAULTY)


def _rows(answer: Answer, told: Environment, *, changed: bool) -> Iterator[Mapping[str, Any]]:
    for row in answer.get("settings") or ():
        if row["source"] == "environment" and row["variable"] in told:
            yield {**row, "source": OF_UP}
        elif row["source"] != "default" or not changed:
            yield row


def _print(answers: Mapping[str, Answer]) -> None:
    for name, answer in answers.items():
        click.echo(click.style(name, bold=True))
        _table(answer["settings"])
        for fault in answer["faults"]:
            click.echo(plain(f"  error: {fault}"), err=True)
        for each in answer.get("unknown") or ():
            fix = f"did you mean {each['nearest']}?" if each["nearest"] else "remove it"
            problem = f"{each['name']} is not known, and changes nothing; {fix}"
            click.echo(plain(f"  warning: {problem}"), err=True)


def _table(rows: Sequence[Mapping[str, Any]]) -> None:
    width = max([NARROWEST, *(len(row["name"]) for row in rows)])
    for row in rows:
        value = row["value"]
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        click.echo(plain(f"  {row['name']:<{width}}  {text}  [{_source(row)}]"))


def _source(row: Mapping[str, Any]) -> str:
    """Where it is from; the variable too, where another one holds it."""
    if row["variable"] in {None, row["name"]}:
        return str(row["source"])
    return f"{row['source']} {row['variable']}"
