"""`python -m services.chassis.inspection MODULE COMMAND`: a JSON object on standard output."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from services.chassis.inspection.check import checked
from services.chassis.inspection.migrate import StoreSettings, migrated
from services.chassis.inspection.service import Service, read, service, sources
from services.chassis.process import faults
from services.chassis.settings import SharedSettings

Result = TypeVar("Result")

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
    if not issubclass(of.shared, SharedSettings):
        return {"service": of.name, "faults": ["it keeps nothing, and has no schema"]}
    try:
        url = StoreSettings().event_store
    except ValidationError as error:
        return {"service": of.name, "faults": faults(error)}
    return {"service": of.name, **_ran(migrated(of.name, url, only_looks=only_looks))}


def _findings(of: Service, *, is_running: bool) -> dict[str, Any]:
    found = _ran(checked(of, is_running=is_running))
    return {"service": of.name, "faults": [], "findings": [asdict(each.cut()) for each in found]}


def _ran(work: Coroutine[None, None, Result]) -> Result:
    """What comes of it. The loop is left open: to close it would wait for threads, and one may hang
    in what it looks at."""
    return asyncio.Runner().run(work)


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
    module, command = arguments
    try:
        of = service(module)
    except ImportError as error:
        sys.stderr.write(f"{module} is no service: {error}\n")
        return USAGE
    said = COMMANDS[command](of)
    sys.stdout.write(json.dumps(said) + "\n")
    return FAILED if command in CHANGING and _is_unfinished(said) else 0


def _is_unfinished(said: Mapping[str, Any]) -> bool:
    return bool(said["faults"]) or said["applied"] < said["known"]


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # As `_ran` says.
