"""A workflow's data: JSON objects that are merged and bounded. Pure."""

import json
from collections.abc import Mapping
from math import isfinite
from typing import Final

from services.workflow.domain.events import Object

MAX_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 30
MAX_VALUES: Final = 100_000
"""These two, and the integers, are what goes over the wire: see `chassis.structs`."""
MAX_WHOLE: Final = 2**53

MANY: Final = 1_000
"""Values, or 16 characters each, from which on something is large."""

_LARGE: Final = f"is larger than {MAX_BYTES} bytes"
_DEEP: Final = f"is nested more than {MAX_DEPTH} levels deep"
_CROWDED: Final = f"has more than {MAX_VALUES:,} values"
_NUMBER: Final = "has a number that is not finite, or an integer beyond 2^53"
_TEXT: Final = "has a text that is not valid Unicode"
FIXES: Final = {
    _LARGE: "keep large values elsewhere, and a reference to them here",
    _DEEP: "use flatter values",
    _CROWDED: "keep large values elsewhere, and a reference to them here",
    _NUMBER: "send such numbers as texts",
    _TEXT: "send valid UTF-8",
}
"""What may be wrong with data, and what to do about it."""
_text: Final = json.JSONEncoder(ensure_ascii=False).encode


def merged(data: Object, patch: Object) -> Object:
    """The data after a merge patch (RFC 7396): members replace those there, null removes them."""
    result = dict(data)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            there = result.get(name)
            result[name] = merged(there if isinstance(there, Mapping) else {}, value)
        else:
            result[name] = value
    return result


def fault(data: Object) -> str | None:
    """Why this object cannot be kept, of `FIXES`; None if it can."""
    level, values = [*data.values()], len(data)
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        is_deeper = False
        for each in level:
            if isinstance(each, Mapping | list | tuple):
                inner += each.values() if isinstance(each, Mapping) else each
                is_deeper = True
            elif isinstance(each, float | int) and not _is_exact(each):
                return _NUMBER
        values += len(inner)
        if values > MAX_VALUES:
            return _CROWDED
        if not is_deeper:
            return _too_large(data)
        level = inner
    return _DEEP


def is_large(value: object) -> bool:
    """Whether many of these fill a memory. It looks at no more than it takes to tell."""
    left, pending = MANY, [value]
    while pending and left > 0:
        part = pending.pop()
        left -= 1
        if isinstance(part, Mapping):
            left -= len(part)
            pending += part.values() if left > 0 else ()
        elif isinstance(part, list | tuple):
            pending += part if len(part) < left else ()
            left -= len(part)
        elif isinstance(part, str):
            left -= len(part) // 16
    return left <= 0


def _is_exact(number: float) -> bool:
    """Whether it is the same for everybody who reads JSON."""
    if isinstance(number, float) and not number.is_integer():
        return isfinite(number)
    return -MAX_WHOLE <= number <= MAX_WHOLE


def size_bytes(data: object) -> int:
    """How large it is as JSON. Raises `UnicodeEncodeError`, where `fault` has not looked."""
    return len(_text(data).encode()) if data else 0


def _too_large(data: Object) -> str | None:
    try:
        size = size_bytes(data)
    except UnicodeEncodeError:
        return _TEXT
    return _LARGE if size > MAX_BYTES else None
