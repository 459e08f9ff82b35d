"""`runplane migrate`: brings the schemas of the event store up to date."""

import asyncio
import json
from pathlib import Path
from typing import Final

import click

from services.cli.config import state_option
from services.cli.inspecting import Answer, asked, environments
from services.cli.plain import plain
from services.cli.suite import SERVICES

UNFINISHED: Final = 1
PATIENCE_SECONDS: Final = 3_600.0
"""A step may rewrite a large table."""


@click.command(
    short_help="Bring the schemas of the event store up to date.",
    epilog="Exit codes: 0 up to date, 1 something is pending or failed, 2 wrong usage.",
)
@click.option(
    "--service",
    "chosen",
    multiple=True,
    type=click.Choice(SERVICES),
    help="Of this service only; may be given again. Default: all of them.",
)
@click.option("--check", is_flag=True, help="Change nothing; say what is pending.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@state_option
def migrate(chosen: tuple[str, ...], check: bool, as_json: bool, state: Path) -> None:
    """Apply what the schemas of RUNPLANE_EVENT_STORE lack, and say what was done.

    It may run as often as one likes, at the same time elsewhere, and while services of this version
    or the one before run. Services do the same at their start, unless RUNPLANE_MIGRATE is never.
    """
    told = environments(state, chosen or SERVICES)
    command = "migrate-check" if check else "migrate"
    answers = asyncio.run(asked(command, told, patience=PATIENCE_SECONDS))
    if as_json:
        click.echo(json.dumps({"services": answers}, indent=2, ensure_ascii=False))
    else:
        for name, answer in answers.items():
            click.echo(plain(f"{name}: {_line(answer)}"), err=bool(answer["faults"]))
    if any(map(_is_unfinished, answers.values())):
        raise SystemExit(UNFINISHED)


def _line(answer: Answer) -> str:
    if answer["faults"]:
        return "; ".join(answer["faults"])
    before, applied, known = (answer[name] for name in ("before", "applied", "known"))
    if applied > known:
        return f"a newer version has applied {applied} steps; this one knows {known}"
    if applied < known:
        return f"{known - applied} of {known} steps pending"
    if applied > before:
        return f"applied steps {before + 1} to {applied}"
    return f"up to date, {applied} steps"


def _is_unfinished(answer: Answer) -> bool:
    return bool(answer["faults"]) or answer["applied"] < answer["known"]
