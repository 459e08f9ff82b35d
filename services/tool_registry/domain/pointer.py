"""JSON Pointers (RFC 6901): where in a value something stands. Pure."""

import re
from collections.abc import Mapping
from typing import Final

POINTER: Final = re.compile(r"(/([^/~]|~[01])*)*")
MAX_CHARACTERS: Final = 512


def steps(pointer: str) -> list[str]:
    """The names on the way. The pointer matches `POINTER`."""
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def found(value: object, pointer: str) -> object:
    """What stands there.

    Raises:
        LookupError: nothing does.
    """
    for step in steps(pointer):
        if isinstance(value, list | tuple):
            value = value[_index(step)]
        else:
            members = value if isinstance(value, Mapping) else {}
            value = members[step]
    return value


def _index(step: str) -> int:
    if not re.fullmatch("0|[1-9][0-9]{0,8}", step, re.ASCII):
        raise LookupError(step)
    return int(step)
