"""`python -m services.chassis.inspection MODULE COMMAND`: a JSON object on standard output."""

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from pydantic import ValidationError

from services.chassis.inspection.check import checked
from services.chassis.inspection.migrate import StoreSettings, migrated
from services.chassis.inspection.service import Service, read, service, sources
from services.chassis.process import faults

FAILED: Final = 1
USAGE: Final = 2
CHANGING: Final = frozenset({"migrate", "migrate-check"})
"""Of these the exit code says too whether the schema is up to date."""


def config(of: Service) -> dict[str, Any]:
    """The settings that its process would have, and what is wrong with them."""
    reading = read(of)
    return {
        "service": of.name,
        "faults": list(reading.faults),
        "unknown": [asdict(each) for each in reading.unknown],
        "settings": [asdict(each) for each in reading.settings(sources())],
    }


def check(of: Service) -> dict[str, Any]:
    """What its process would find at its start."""
    return _findings(of, is_running=False)


def check_running(of: Service) -> dict[str, Any]:
    """The same beside its process, whose ports are its own."""
    return _findings(of, is_running=True)


def migrate(of: Service) -> dict[str, Any]:
    """The schema of its store brought up to date; the one command that changes something."""
    return _migrated(of, only_looks=False)


def migrate_check(of: Service) -> dict[str, Any]:
    """How far the schema of its store is."""
    return _migrated(of, only_looks=True)


def _migrated(of: Service, *, only_looks: bool) -> dict[str, Any]:
    try:
        url = StoreSettings().event_store
    except ValidationError as error:
        return {"service": of.name, "faults": faults(error)}
    return {"service": of.name, **asyncio.run(migrated(of.name, url, only_looks=only_looks))}


def _findings(of: Service, *, is_running: bool) -> dict[str, Any]:
    found = asyncio.run(checked(of, is_running=is_running))
    return {"service": of.name, "faults": [], "findings": [asdict(each) for each in found]}


COMMANDS: Final[Mapping[str, Callable[[Service], dict[str, Any]]]] = {
    "config": config,
    "check": check,
    "check-running": check_running,
    "migrate": migrate,
    "migrate-check": migrate_check,
}


def main(arguments: list[str]) -> int:
    """Do what is asked. Of most, the exit code says only whether it could be asked."""
    if len(arguments) != 2 or arguments[1] not in COMMANDS:
        sys.stderr.write(f"usage: MODULE {'|'.join(COMMANDS)}\n")
        return USAGE
    said = COMMANDS[arguments[1]](service(arguments[0]))
    sys.stdout.write(json.dumps(said) + "\n")
    return FAILED if arguments[1] in CHANGING and _is_unfinished(said) else 0


def _is_unfinished(said: Mapping[str, Any]) -> bool:
    return bool(said["faults"]) or said["applied"] < said["known"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
