"""Ids: a prefix that says what they name, then time and chance, so that they sort by age."""

import base64
import os
import time
from typing import Final

_STANDARD: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_CROCKFORD: Final = bytes.maketrans(_STANDARD, b"0123456789abcdefghjkmnpqrstvwxyz")


def new(prefix: str) -> str:
    """An id such as `task_01k9…`: 48 bits of milliseconds, then 82 random bits (much as ULID)."""
    milliseconds = time.time_ns() // 1_000_000
    raw = (milliseconds << 82 | int.from_bytes(os.urandom(11)) >> 6) << 6
    digits = base64.b32encode(raw.to_bytes(17)).translate(_CROCKFORD)
    return f"{prefix}_{digits[:26].decode()}"
