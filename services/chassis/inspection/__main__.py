"""`python -m services.chassis.inspection MODULE config|check`: a JSON object on standard output."""

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from services.chassis.inspection.check import checked
from services.chassis.inspection.service import Service, read, service, sources

USAGE: Final = 2


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


def _findings(of: Service, *, is_running: bool) -> dict[str, Any]:
    found = asyncio.run(checked(of, is_running=is_running))
    return {"service": of.name, "faults": [], "findings": [asdict(each) for each in found]}


COMMANDS: Final[Mapping[str, Callable[[Service], dict[str, Any]]]] = {
    "config": config,
    "check": check,
    "check-running": check_running,
}


def main(arguments: list[str]) -> int:
    """Do what is asked. The exit code says only whether it could be asked."""
    if len(arguments) != 2 or arguments[1] not in COMMANDS:
        sys.stderr.write(f"usage: MODULE {'|'.join(COMMANDS)}\n")
        return USAGE
    said = COMMANDS[arguments[1]](service(arguments[0]))
    sys.stdout.write(json.dumps(said) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
