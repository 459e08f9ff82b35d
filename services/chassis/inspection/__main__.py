"""`python -m services.chassis.inspection MODULE config`: a JSON object on standard output."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

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


COMMANDS: Final[Mapping[str, Callable[[Service], dict[str, Any]]]] = {"config": config}


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
