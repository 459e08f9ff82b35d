"""YAML as plain values: built from its events, one after another, with no recursion and no second
pass. Only what JSON can say too."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

from services.chassis.documents.places import (
    MAX_DEPTH,
    MAX_NODES,
    Reading,
    Span,
    Unreadable,
    beyond,
    child,
    finite,
)
from services.chassis.documents.problem import Problem

_CORE: Final = "tag:yaml.org,2002:"
_NULL: Final = re.compile(r"~|null|Null|NULL|")
_TRUE: Final = re.compile(r"true|True|TRUE")
_FALSE: Final = re.compile(r"false|False|FALSE")
_WHOLE: Final = re.compile(r"[-+]?(?:0|[1-9]\d*)")  # So 02134 stays a text.
_NUMBER: Final = re.compile(r"[-+]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?")
_MAX_DIGITS: Final = 400


class _Open:
    """A mapping or a sequence that has not ended."""

    def __init__(self, path: str, start: int, *, is_mapping: bool) -> None:
        self.path = path
        self.start = start
        self.value: Any = {} if is_mapping else []
        self.key: str | None = None

    @property
    def wants_key(self) -> bool:
        return isinstance(self.value, dict) and self.key is None

    def next_path(self) -> str:
        return child(self.path, len(self.value) if isinstance(self.value, list) else self.key or "")

    def put(self, value: object) -> None:
        if isinstance(self.value, list):
            self.value.append(value)
        else:
            self.value[self.key] = value
            self.key = None


class Builder:
    """Builds what one text has."""

    def __init__(self, text: str, lines: tuple[int, ...]) -> None:
        self._text = text
        self._lines = lines
        self._values: dict[str, Span] = {}
        self._keys: dict[str, Span] = {}
        self._written: dict[str, str] = {}
        self._open: list[_Open] = []
        self._documents = self._nodes = 0
        self._root: Any = None

    def reading(self) -> Reading:
        """All of it.

        Raises:
            Unreadable: with the first reason, and where it stands.
        """
        for event in self._events():
            self._take(event)
        if not self._documents:
            raise self._refusal(0, "is empty", "write into it what it is to say", "")
        self._values.setdefault("", Span(0, len(self._text)))
        return Reading(self._root, self._text, self._values, self._keys, self._written, self._lines)

    def _events(self) -> Iterator[Any]:
        try:
            yield from yaml.parse(self._text, Loader=yaml.CSafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            said = " ".join(filter(None, (error.context, error.problem))) or "cannot be read"
            index = mark.index if mark else 0
            raise self._refusal(index, f"is no YAML: {said}", self._mending(index)) from None
        except yaml.YAMLError as error:  # A character that YAML has no place for.
            index = getattr(error, "position", 0)
            index = index if isinstance(index, int) and 0 <= index <= len(self._text) else 0
            said = " ".join(str(getattr(error, "reason", error)).split())[:128]
            raise self._refusal(index, f"is no YAML: {said}", "mend the YAML here") from None

    def _mending(self, index: int) -> str:
        line = self._text[self._text.rfind("\n", 0, index) + 1 :].partition("\n")[0]
        return 'put "${…}" into quotes' if "${" in line else "mend the YAML here"

    def _take(self, event: Any) -> None:
        start = event.start_mark.index
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._refusal(start, "is a second document", "put it into a file of its own")
        elif isinstance(event, yaml.AliasEvent):
            raise self._refusal(start, "is an alias", "write out what it stands for")
        elif isinstance(event, yaml.NodeEvent):
            self._node(event, start)
        elif isinstance(event, yaml.CollectionEndEvent):
            ended = self._open.pop()
            self._close(ended.path, ended.value, Span(ended.start, event.end_mark.index))

    def _node(self, event: Any, start: int) -> None:
        self._nodes += 1
        if event.anchor is not None:
            raise self._refusal(start, "has an anchor", f"leave out &{event.anchor[:64]}")
        if event.tag is not None and not _is_core(event):
            raise self._refusal(start, f"has the tag {event.tag[:64]}", "leave out the tag")
        if len(self._open) > MAX_DEPTH or self._nodes > MAX_NODES:
            problem = beyond(len(self._open), self._path(), *self._position(start))
            raise Unreadable(problem)
        span = Span(start, event.end_mark.index)
        if self._open and self._open[-1].wants_key:
            self._key(event, span)
        elif isinstance(event, yaml.ScalarEvent):
            path = self._path()
            self._close(path, self._scalar(event, path, start), span)
        else:
            is_mapping = isinstance(event, yaml.MappingStartEvent)
            self._open.append(_Open(self._path(), start, is_mapping=is_mapping))

    def _key(self, event: Any, span: Span) -> None:
        holder = self._open[-1]
        if not isinstance(event, yaml.ScalarEvent):
            raise self._refusal(span.start, "has a key that is no text", "use a text as the key")
        if event.value in holder.value:
            said = f"stands there twice: {event.value[:64]}"
            raise self._refusal(span.start, said, "keep one", child(holder.path, event.value))
        holder.key = event.value
        self._keys[self._path()] = span

    def _close(self, path: str, value: object, span: Span) -> None:
        self._values[path] = span
        if self._open:
            self._open[-1].put(value)
        else:
            self._root = value

    def _scalar(self, event: Any, path: str, start: int) -> Any:
        try:
            value = _resolved(event, path)
        except Unreadable as error:
            problem = error.problem
            raise self._refusal(start, problem.message, problem.suggested_fix) from None
        if not isinstance(value, str):
            self._written[path] = event.value
        return value

    def _path(self) -> str:
        return self._open[-1].next_path() if self._open else ""

    def _position(self, index: int) -> tuple[int, int]:
        return Reading(None, lines=self._lines).position(index)

    def _refusal(self, index: int, message: str, fix: str, path: str | None = None) -> Unreadable:
        where = self._path() if path is None else path
        return Unreadable(Problem(where.rstrip("."), message, fix, *self._position(index)))


_KINDS: Final[Mapping[type, frozenset[str]]] = {
    yaml.ScalarEvent: frozenset({"str", "int", "float", "bool", "null"}),
    yaml.MappingStartEvent: frozenset({"map"}),
    yaml.SequenceStartEvent: frozenset({"seq"}),
}


def _is_core(event: Any) -> bool:
    prefix, _, name = event.tag.rpartition(":")
    return event.tag == "!" or (f"{prefix}:" == _CORE and name in _KINDS[type(event)])


def _resolved(event: Any, path: str) -> Any:
    """What a scalar is: text if it says so by quotes or a tag, else what JSON would read."""
    said: str = event.value
    if event.tag in {"!", f"{_CORE}str"} or (event.tag is None and event.style not in {None, ""}):
        return said
    for pattern, value in ((_NULL, None), (_TRUE, True), (_FALSE, False)):
        if pattern.fullmatch(said):
            return value
    if len(said) <= _MAX_DIGITS and said.isascii():
        if _WHOLE.fullmatch(said):
            return finite(int(said), path)
        if _NUMBER.fullmatch(said):
            return finite(float(said), path)
    return said
