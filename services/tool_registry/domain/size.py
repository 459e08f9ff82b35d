"""Which values are so large that nobody may wait while they are read, checked or packed. Pure."""

from collections.abc import Mapping
from typing import Final

LARGE_BYTES: Final = 64 * 1024
"""As JSON. What is larger is not worked on in the event loop: a megabyte takes 0.2 s."""
_EACH: Final = 16
"""Bytes that a value counts beside its text."""


def is_large(*values: object, most_bytes: int = LARGE_BYTES) -> bool:
    """Whether values have more than about so many bytes. Looks at no more of them than that."""
    left, waiting = most_bytes, list(values)
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            left -= len(each)
        elif isinstance(each, Mapping | list | tuple):
            left -= _EACH * len(each)
            if left >= 0:
                left -= _names(each) if isinstance(each, Mapping) else 0
                waiting.extend(each.values() if isinstance(each, Mapping) else each)
        if left < 0:
            return True
    return False


def _names(members: Mapping[object, object]) -> int:
    return sum(len(name) for name in members if isinstance(name, str))
