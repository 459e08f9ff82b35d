"""A workflow's data: JSON objects that are merged and bounded. Pure."""

import json
from collections.abc import Mapping
from typing import Final

from services.workflow.domain.events import Object

MAX_BYTES: Final = 256 * 1024


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


def is_too_large(data: Object) -> bool:
    """Whether it is larger than a workflow may keep."""
    return len(json.dumps(data, ensure_ascii=False).encode()) > MAX_BYTES
