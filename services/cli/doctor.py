"""`runplane doctor`: what is wrong with this machine, the settings, and what they name."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from services.chassis.inspection.finding import Finding, Level, wrong
from services.cli.config import services_option, state_option
from services.cli.inspecting import asked, environments, is_cluster
from services.cli.plain import plain
from services.cli.suite import MODULES, service_of

ILL: Final = 1
NO_SUITE: Final = 3
COLORS: Final = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "red"}
MACHINE: Final = "machine"

Found = dict[str, list[Finding]]


@click.command(
    short_help="Look for what is wrong, and say what to do.",
    epilog="Exit codes: 0 no errors, 1 errors, 2 wrong usage, 3 no suite runs.",
)
@services_option
@click.option(
    "--server/--no-server",
    "is_running",
    default=None,
    help="Whether a suite of --state runs that is to be looked at: each process is asked how it "
    "is, and its ports are its own. Default: if one runs.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--quiet", is_flag=True, help="Only warnings and errors.")
@state_option
def doctor(
    chosen: tuple[str, ...], is_running: bool | None, as_json: bool, quiet: bool, state: Path
) -> None:
    """Look for what is wrong: settings, ports, stores, brokers, models, versions, clocks, room.

    Each is ok, a warning or an error, with what to do. Nothing is changed.
    """
    from services.cli.machine import admin_ports  # noqa: PLC0415 - others need not load it

    admin = {} if is_running is False else admin_ports(state)
    if is_running and not admin:
        click.echo(f"no suite runs with {state}; start one with: runplane up", err=True)
        raise SystemExit(NO_SUITE)
    found = asyncio.run(_looked(chosen or tuple(MODULES), state, admin))
    if quiet:
        found = {
            name: [each for each in findings if each.level != Level.OK]
            for name, findings in found.items()
        }
    _show(found, as_json=as_json)
    if _count(found, Level.ERROR):
        raise SystemExit(ILL)


async def _looked(chosen: Sequence[str], state: Path, admin: Mapping[str, str]) -> Found:
    from services.cli.machine import health, machine  # noqa: PLC0415

    command = "check-running" if admin else "check"
    asking = asyncio.ensure_future(asked(command, environments(state, chosen)))
    found: Found = {MACHINE: list(machine(None if is_cluster() else state))}
    try:
        wanted = {name: where for name, where in admin.items() if service_of(name) in chosen}
        healths = await asyncio.gather(*(health(*each) for each in wanted.items()))
        answers = await asking
    finally:
        asking.cancel()
    for name, answer in answers.items():
        fix = f"run: python -m services.chassis.inspection {MODULES[name]} check"
        said = [Finding(**each) for each in answer.get("findings") or ()]
        found[name] = [*said, *(wrong("service", fault, fix) for fault in answer["faults"])]
    for name, each in zip(wanted, healths, strict=True):
        found[service_of(name)].append(each)
    return found


def _show(found: Found, *, as_json: bool) -> None:
    counts = {level.value: _count(found, level) for level in Level}
    if as_json:
        listed = {name: [asdict(each) for each in findings] for name, findings in found.items()}
        click.echo(json.dumps({"findings": listed, "counts": counts}, indent=2, ensure_ascii=False))
        return
    for name, findings in found.items():
        if findings:
            click.echo(click.style(name, bold=True))
        for each in findings:
            level = click.style(f"{each.level:<7}", fg=COLORS[Level(each.level)])
            click.echo(f"  {level}  {plain(f'{each.check}: {each.message}')}")
            if each.fix and each.level != Level.OK:
                click.echo(f"           {plain(each.fix)}")
    click.echo(f"{counts['error']} error(s), {counts['warning']} warning(s)")


def _count(found: Found, level: Level) -> int:
    return sum(each.level == level for findings in found.values() for each in findings)
