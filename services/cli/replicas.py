"""More than one process of a service."""

from collections.abc import Mapping, Sequence
from typing import Final

import click

from services.cli.suite import SERVICES

# What they know is in the event store.
KEEPERS: Final = SERVICES
NUMBERS: Final = frozenset("123456789")


def wanted(
    context: click.Context, option: click.Parameter, values: Sequence[str]
) -> Mapping[str, int]:
    """What `--replicas` says."""
    found = {}
    for value in values:
        service, _, number = value.partition("=")
        if service not in SERVICES or number not in NUMBERS:
            names = ", ".join(SERVICES)
            raise click.BadParameter(f"{value} is not SERVICE=N, with one of {names} and 1 to 9")
        found[service] = int(number)
    return found


def check_shared(replicas: Mapping[str, int], event_store: str | None, hot_store: str) -> None:
    """Refuse replicas that could not see each other's work."""
    for service in KEEPERS:
        if replicas.get(service, 1) > 1 and not (event_store or "").startswith("postgres"):
            raise click.UsageError(
                f"replicas of {service} share an event store: --event-store postgresql://…"
            )
    if replicas.get("orchestrator", 1) > 1 and hot_store == "memory:":
        click.echo(
            "replicas see each other's events once a second; at once with --hot-store redis://…"
        )
