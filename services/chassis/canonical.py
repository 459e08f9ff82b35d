"""JSON in the one form that hashes are made over (RFC 8785). Pure."""

from collections.abc import Mapping
from typing import Any, Final

import rfc8785

_SAFE: Final = 2**53 - 1


def canonical(value: object) -> bytes:
    """A value of JSON's types in canonical form: the same for all that are equal as JSON.

    Raises:
        ValueError: it has what JSON has not: not a number, or an integer that no double is.
    """
    return rfc8785.dumps(_plain(value))


def _plain(value: object) -> Any:
    """Numbers are doubles, whatever they are in Python: 2^53 is one that looks as an integer."""
    if isinstance(value, Mapping):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, int) and abs(value) > _SAFE and abs(value) < 2**1023:
        return float(value) if int(float(value)) == value else value
    return value
