"""Filters of lists (AIP-160) as conditions on records.

Grammar, from https://google.aip.dev/160: `OR` binds tighter than `AND`, and two terms beside each
other are joined by `AND`. Each list says which fields it has; the rest is refused.

    expression  = sequence { "AND" sequence }
    sequence    = factor { factor }
    factor      = term { "OR" term }
    term        = [ "NOT" | "-" ] ( restriction | "(" expression ")" )
    restriction = field operator value
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from services.chassis.errors import InvalidArgument, Violation, invalid
from services.chassis.eventlog.port import Attribute, Compare, Condition, Every, Not, Some

MAX_CHARACTERS: Final = 2_000
MAX_TERMS: Final = 64
MAX_DEPTH: Final = 16

_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<operator><=|>=|!=|=|<|>)
    | (?P<bracket>[()])
    | (?P<minus>-(?=[A-Za-z(]))
    | (?P<word>[^\s()"'=<>!]+)
    )""",
    re.VERBOSE,
)
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?")
_ESCAPED: Final = re.compile(r"\\(.)")
_WORDS: Final = frozenset({"AND", "OR", "NOT"})


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields that a list can be filtered by."""

    names: Collection[str]
    prefixes: Collection[str] = ()
    """Of families of fields, such as `labels.`."""
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By field: the only values it has, by each way in which they are written."""

    def __contains__(self, name: str) -> bool:
        return name in self.names or any(
            name.startswith(each) and len(name) > len(each) for each in self.prefixes
        )

    def __str__(self) -> str:
        return ", ".join([*sorted(self.names), *(f"{each}NAME" for each in self.prefixes)])


def written(prefix: str, values: Collection[str]) -> Mapping[str, str]:
    """Both ways to write the values of an enum: as filters do, and as answers do."""
    return {each: each for each in values} | {f"{prefix}{each.upper()}": each for each in values}


def condition(text: str, fields: Fields) -> Condition | None:
    """What a filter says; None for an empty one.

    Raises:
        InvalidArgument: `FILTER_INVALID`.
    """
    if not text.strip():
        return None
    if len(text) > MAX_CHARACTERS:
        raise _refused(f"has more than {MAX_CHARACTERS} characters", "ask for less at a time")
    return _Parser(text, fields).whole()


def _refused(problem: str, fix: str) -> InvalidArgument:
    return invalid(Violation("filter", problem, fix), reason="FILTER_INVALID")


class _Parser:
    def __init__(self, text: str, fields: Fields) -> None:
        self._tokens = list(_tokens(text))
        self._next = 0
        self._fields = fields
        self._terms = 0

    def whole(self) -> Condition:
        found = self._expression(MAX_DEPTH)
        if self._peek()[1]:
            raise self._unexpected()
        return found

    def _expression(self, depth: int) -> Condition:
        if depth == 0:
            raise _refused(f"nests more than {MAX_DEPTH} brackets", "use fewer")
        parts = [self._sequence(depth)]
        while self._take("word", "AND"):
            parts.append(self._sequence(depth))
        return parts[0] if len(parts) == 1 else Every(parts)

    def _sequence(self, depth: int) -> Condition:
        parts = [self._factor(depth)]
        while self._peek()[1] not in {"", ")", "AND"}:
            parts.append(self._factor(depth))
        return parts[0] if len(parts) == 1 else Every(parts)

    def _factor(self, depth: int) -> Condition:
        parts = [self._term(depth)]
        while self._take("word", "OR"):
            parts.append(self._term(depth))
        return parts[0] if len(parts) == 1 else Some(parts)

    def _term(self, depth: int) -> Condition:
        if self._take("word", "NOT") or self._take("minus", "-"):
            return Not(self._simple(depth))
        return self._simple(depth)

    def _simple(self, depth: int) -> Condition:
        if self._take("bracket", "("):
            found = self._expression(depth - 1)
            if not self._take("bracket", ")"):
                raise _refused("lacks a closing bracket", "add )")
            return found
        return self._restriction()

    def _restriction(self) -> Condition:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise _refused(f"has more than {MAX_TERMS} terms", "ask for less at a time")
        kind, name = self._peek()
        if kind != "word" or name in _WORDS:
            raise self._unexpected()
        if name not in self._fields:
            raise _refused(f"names {name[:64]!r}, which is no field", f"use {self._fields}")
        self._next += 1
        kind, operator = self._peek()
        if kind != "operator":
            raise _refused(f"lacks an operator after {name[:64]}", "use = != < <= > or >=")
        self._next += 1
        return Compare(name, operator, self._known(name, self._value(name)))

    def _known(self, name: str, value: Attribute) -> Attribute:
        """The value as it is stored. Refuses one that the field never has."""
        if (words := self._fields.words.get(name)) is None:
            return value
        if not isinstance(value, str) or value not in words:
            fix = f"use one of {', '.join(dict.fromkeys(words.values()))}"
            raise _refused(f"asks for a {name} that there is not: {str(value)[:64]!r}", fix)
        return words[value]

    def _value(self, name: str) -> Attribute:
        kind, text = self._peek()
        if kind not in {"word", "quoted"} or (kind == "word" and text in _WORDS):
            raise _refused(f"lacks a value for {name[:64]}", 'put it in quotes: "value"')
        self._next += 1
        if kind == "quoted":
            return _ESCAPED.sub(r"\1", text[1:-1])
        if text in {"true", "false"}:
            return text == "true"
        return float(text) if _NUMBER.fullmatch(text) else text

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._next] if self._next < len(self._tokens) else ("", "")

    def _take(self, kind: str, text: str) -> bool:
        if self._peek() != (kind, text):
            return False
        self._next += 1
        return True

    def _unexpected(self) -> InvalidArgument:
        found = self._peek()[1]
        where = f"goes on with {found[:64]!r}" if found else "ends too early"
        return _refused(where, "write FIELD OPERATOR VALUE, joined by AND, OR and NOT")


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise _refused(f"cannot be read at {text[position : position + 20]!r}", "mend it there")
        found.append((match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return found
