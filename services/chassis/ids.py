"""Ids: a prefix that says what they name, then time and chance, so that they sort by age."""

import secrets
import time
from typing import Final

_DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, in lower case.
_LENGTH: Final = 26


def new(prefix: str) -> str:
    """An id such as `task_01k9…`: 48 bits of milliseconds, then 80 random bits (as in ULID)."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    digits = [_DIGITS[(number >> shift) & 31] for shift in range(5 * (_LENGTH - 1), -1, -5)]
    return f"{prefix}_{''.join(digits)}"
