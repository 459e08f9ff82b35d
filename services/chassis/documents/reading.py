"""A document's text or object as plain values, with the place where each stands. Of YAML only
what JSON has: `on`, `no` and `2026-01-02` are texts."""

import json
import re
from collections.abc import Mapping
from typing import Any

from services.chassis.documents.places import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_NODES,
    Reading,
    Unreadable,
    beyond,
    child,
    finite,
)
from services.chassis.documents.problem import Problem
from services.chassis.documents.yaml_values import Builder


def read(source: str | bytes) -> Reading:
    """Read YAML or JSON.

    Raises:
        Unreadable: it is too large, no YAML, or more than JSON can say.
    """
    text = _decoded(source)
    lines = (0, *(found.end() for found in re.finditer(r"\r\n|\r|\n", text)))
    try:
        return Builder(text, lines).reading()
    except Unreadable:
        if (found := _json(text)) is None:  # YAML refuses a few escapes and tabs that JSON has.
            raise
        return plain(found)


def plain(value: object) -> Reading:
    """An object that came as JSON; a copy.

    Raises:
        Unreadable: it is too large or too deep, or not JSON.
    """
    copied = _copied(value, "", 0, [0])
    _bounded(len(json.dumps(copied, ensure_ascii=False).encode()))
    return Reading(copied)


def _copied(value: object, path: str, depth: int, counted: list[int]) -> Any:
    counted[0] += 1
    if depth > MAX_DEPTH or counted[0] > MAX_NODES:
        raise Unreadable(beyond(depth, path))
    if isinstance(value, Mapping):
        return {
            _text(key, path): _copied(each, child(path, str(key)), depth + 1, counted)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [_copied(each, child(path, n), depth + 1, counted) for n, each in enumerate(value)]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return finite(value, path)
    return _text(value, path)


def _text(value: object, path: str) -> str:
    if not isinstance(value, str) or (not value.isascii() and _is_broken(value)):
        raise Unreadable(Problem(path, "is not JSON", "send JSON values, and valid Unicode"))
    return value


def _is_broken(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _decoded(source: str | bytes) -> str:
    size = len(source) if isinstance(source, bytes) else len(source.encode(errors="replace"))
    _bounded(size)
    try:
        text = source.decode() if isinstance(source, bytes) else source
        text.encode()
    except UnicodeError as error:
        before = _before(source, getattr(error, "start", 0))
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise Unreadable(
            Problem("", "is not valid UTF-8", "save it as UTF-8", line, column)
        ) from None
    return text.removeprefix("\ufeff")


def _bounded(size: int) -> None:
    if size > MAX_BYTES:
        said = f"has {size:,} bytes; at most {MAX_BYTES:,} are allowed"
        raise Unreadable(Problem("", said, "shorten it", 1, 1))


def _before(source: str | bytes, index: int) -> str:
    before = source[:index]
    return before.decode(errors="replace") if isinstance(before, bytes) else before


def _json(text: str) -> object | None:
    """The object that a text of JSON is; None where it is none, or says something twice."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        found: object = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None
    return found


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands there twice")
    return found
