"""What a tool answered: JSON within bounds, as its contract says, or the tool's own fault. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from services.tool_registry.domain.refusals import too_large
from services.tool_registry.domain.tool import Definition, ToolFailure

MAX_INTEGER: Final = 2**53
MAX_DEPTH: Final = 30  # As deep, and with as many values, as a message may be.
MAX_VALUES: Final = 100_000

_WRITTEN: Final = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode
_LISTS: Final = (list, tuple)
_NUMBERS: Final = (int, float)
_MEND: Final = "tell who keeps the tool, or use another"


def check(
    value: object,
    definition: Definition,
    max_bytes: int,
    content: Sequence[Mapping[str, object]] = (),
) -> None:
    """Refuse a value that is not what the output schema says, or with its content is too large.

    Raises:
        ToolFailure: `TOOL_RESULT_TOO_LARGE` or `TOOL_OUTPUT_INVALID`.
    """
    name = definition.name
    if content:
        _check_blocks(content, name)
        check_size(name, max_bytes, value, *content)
    else:
        check_size(name, max_bytes, value)
    if violations := definition.output_schema.violations(value):
        told = "; ".join(f"{each.field}: {each.message}" for each in violations[:3])
        raise invalid(name, f"what it must not: {told}")


def check_size(name: str, max_bytes: int, *values: object) -> None:
    """Refuse what is no JSON that every reader sees as it is, or is too large to be sent.

    Raises:
        ToolFailure: `TOOL_RESULT_TOO_LARGE` or `TOOL_OUTPUT_INVALID`.
    """
    _Walk(name, max_bytes).over(values)  # First: what follows takes as long as they are large.
    try:
        size = sum(_bytes(value) for value in values)
    except (TypeError, ValueError, RecursionError):
        raise invalid(name, "what is not JSON") from None
    if size > max_bytes:
        raise too_large(name, f"{size:,} bytes; at most {max_bytes:,} are allowed")


def invalid(name: str, what: str) -> ToolFailure:
    """That a tool broke its word."""
    return ToolFailure("TOOL_OUTPUT_INVALID", f"{name} returned {what}", _MEND)


def _bytes(value: object) -> int:
    return len(_WRITTEN(value).encode())


def _check_blocks(content: object, name: str) -> None:
    if not isinstance(content, _LISTS) or not all(map(_is_block, content)):
        raise invalid(name, "content that is no list of objects, each with a type")


def _is_block(block: object) -> bool:
    return isinstance(block, Mapping) and isinstance(block.get("type"), str)


class _Walk:
    """Looks at values level by level, and at no more of them than may be sent."""

    def __init__(self, name: str, max_bytes: int) -> None:
        self._name = name
        self._max_bytes = max_bytes
        self._left = MAX_VALUES
        self._characters = max_bytes

    def over(self, values: Sequence[object]) -> None:
        """Look at all of them. Raises ToolFailure as `check_size`."""
        depth, level = 0, values
        while level:
            depth += 1
            level = self._inner(level, can_nest=depth <= MAX_DEPTH)

    def _inner(self, level: Sequence[object], *, can_nest: bool) -> Sequence[object]:
        inner: list[object] = []
        for each in level:
            if isinstance(each, str):
                self._read(len(each))
            elif isinstance(each, dict):
                self._enter(len(each), can_nest=can_nest)
                self._read_names(each)
                inner += each.values()
            elif isinstance(each, _LISTS):
                self._enter(len(each), can_nest=can_nest)
                inner += each
            elif each is not None and not _is_exact(each):
                raise invalid(self._name, "what is no JSON value, or an integer beyond 2^53")
        return inner

    def _read_names(self, names: Iterable[object]) -> None:
        for name in names:
            if not isinstance(name, str):
                raise invalid(self._name, "an object with a name that is no text")
            self._read(len(name))

    def _enter(self, size: int, *, can_nest: bool) -> None:
        if not can_nest:
            raise invalid(self._name, f"more than {MAX_DEPTH} levels")
        self._left -= size
        if self._left < 0:
            raise self._excess(f"{MAX_VALUES:,} values")

    def _read(self, characters: int) -> None:
        self._characters -= characters
        if self._characters < 0:
            raise self._excess(f"{self._max_bytes:,} bytes")

    def _excess(self, most: str) -> ToolFailure:
        return too_large(self._name, f"more than the {most} that are allowed")


def _is_exact(number: object) -> bool:
    """Whether every JSON reader sees the same number; those that are not finite are found later."""
    if isinstance(number, float) and not number.is_integer():
        return True
    return isinstance(number, _NUMBERS) and -MAX_INTEGER <= number <= MAX_INTEGER
