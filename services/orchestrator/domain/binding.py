"""Whose inputs the schema of a step can bind. Pure.

No schema may be longer or more intricate than inference takes, and a step's has those of all its
tools in it. Where that is too much, inputs of the largest are any object: the registry checks them.
"""

import json
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from services.orchestrator.domain.step import step_schema
from services.orchestrator.domain.tool import Tool

MOST_BYTES: Final = 24 * 1024  # Of plain schemas that surely fit, whatever the answer has to be.
MOST_LEVELS: Final = 12
_INTRICATE: Final = ('"$', '"pattern')

Fits = Callable[[Mapping[str, object]], bool]


def unbound(
    tools: tuple[Tool, ...], answer: Mapping[str, object] | None, fits: Fits
) -> frozenset[str]:
    """The names of tools whose inputs are not bound, as few as it takes until the schema `fits`."""
    sizes = [_plain_bytes(tool) for tool in tools]
    if all(sizes) and sum(sizes) <= MOST_BYTES:
        return frozenset()
    return _text_unbound(tools, fits) if answer is None else _unbound(tools, answer, fits)


@lru_cache(64)
def _text_unbound(tools: tuple[Tool, ...], fits: Fits) -> frozenset[str]:
    return _unbound(tools, {"type": "string", "minLength": 1}, fits)


def _unbound(tools: tuple[Tool, ...], answer: Mapping[str, object], fits: Fits) -> frozenset[str]:
    largest = [tool.name for tool in sorted(tools, key=_bytes, reverse=True)]

    def is_enough(count: int) -> bool:
        return fits(step_schema(tools, answer, frozenset(largest[:count])))

    # With none of them it may still be too large: that is the answer's, which is said where it
    # is asked for.
    return frozenset(largest[: bisect_left(range(len(largest)), True, key=is_enough)])


@lru_cache(4096)
def _bytes(tool: Tool) -> int:
    return len(_text(tool).encode())


@lru_cache(4096)
def _plain_bytes(tool: Tool) -> int:
    """How long a schema is; 0 for one that is more than plain, or deep."""
    text = _text(tool)
    is_plain = not any(word in text for word in _INTRICATE)
    return len(text.encode()) if is_plain and _levels(tool.input_schema) <= MOST_LEVELS else 0


def _text(tool: Tool) -> str:
    return json.dumps(tool.input_schema, ensure_ascii=False)


def _levels(part: object) -> int:
    """How deep it is nested. That was bounded when it was read."""
    parts: Sequence[object] = ()
    if isinstance(part, Mapping):
        parts = list(part.values())
    elif isinstance(part, list | tuple):
        parts = part
    else:
        return 0
    return 1 + max(map(_levels, parts), default=0)
