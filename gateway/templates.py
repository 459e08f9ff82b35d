"""Path templates of google.api.http: `/v1/{name=shelves/*}/books/{book_id}:cancel`.

Template = "/" Segment { "/" Segment } [ ":" LITERAL ]
Segment  = "*" | "**" | LITERAL | "{" FieldPath [ "=" Segment { "/" Segment } ] "}"
"""

import re
from dataclasses import dataclass
from typing import Final

from services.chassis.errors import InvalidArgument, Violation, invalid

ONE: Final = "*"
REST: Final = "**"

_TOKEN: Final = re.compile(r"\*\*|\*|[/{}=:]|[^/{}=:*]+")
_FIELD_PATH: Final = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*")
_LITERAL: Final = re.compile(r"[A-Za-z0-9._~!$&'()+,;@-]+")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPED: Final = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_SLASH: Final = re.compile(r"(%2[Ff])")


@dataclass(frozen=True, slots=True)
class Capture:
    """A variable: which field it sets, and from which segments, `end` excluded."""

    field: str
    start: int
    end: int | None
    """None when it takes all the rest (`**`)."""
    is_single: bool
    """Whether it is exactly one segment, so that an escaped slash in it is its own."""


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template. Segments are literals, `*` or, in the last place, `**`."""

    segments: tuple[str, ...]
    captures: tuple[Capture, ...]
    verb: str = ""

    @property
    def is_literal(self) -> bool:
        """Whether exactly one path matches it."""
        return ONE not in self.segments and REST not in self.segments


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _TOKEN.findall(text)
        self._next = 0
        self._segments: list[str] = []
        self._captures: list[Capture] = []

    def template(self) -> Template:
        if "".join(self._tokens) != self._text:
            raise self._error("has characters that templates do not have")
        self._expect("/")
        self._path(variables=True)
        verb = self._literal() if self._take(":") else ""
        if self._next != len(self._tokens):
            raise self._error(f"ends before {self._peek()!r}")
        if REST in self._segments[:-1]:
            raise self._error("has ** before its end")
        fields = [each.field for each in self._captures]
        if len(set(fields)) != len(fields):
            raise self._error("names a field twice")
        return Template(tuple(self._segments), tuple(self._captures), verb)

    def _path(self, *, variables: bool) -> None:
        self._segment(variables=variables)
        while self._take("/"):
            self._segment(variables=variables)

    def _segment(self, *, variables: bool) -> None:
        if self._peek() in (ONE, REST):
            self._segments.append(self._pop())
        elif variables and self._take("{"):
            self._variable()
        else:
            self._segments.append(self._literal())

    def _variable(self) -> None:
        field = self._pop()
        if not _FIELD_PATH.fullmatch(field):
            raise self._error(f"names a field {field!r}")
        start = len(self._segments)
        if self._take("="):
            self._path(variables=False)
        else:
            self._segments.append(ONE)
        self._expect("}")
        taken = self._segments[start:]
        end = None if taken[-1] == REST else len(self._segments)
        self._captures.append(Capture(field, start, end, taken == [ONE]))

    def _literal(self) -> str:
        literal = self._pop()
        if not _LITERAL.fullmatch(literal):
            raise self._error(f"has {literal!r} where a literal should be")
        return literal

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _pop(self) -> str:
        token = self._peek()
        self._next += 1
        return token

    def _take(self, token: str) -> bool:
        if self._peek() != token:
            return False
        self._next += 1
        return True

    def _expect(self, token: str) -> None:
        if not self._take(token):
            raise self._error(f"should have {token!r} before {self._peek()!r}")

    def _error(self, message: str) -> ValueError:
        return ValueError(f"path template {self._text!r} {message}")


def parse(text: str) -> Template:
    """Read a template.

    Raises:
        ValueError: it is none; the contract is wrong.
    """
    return _Parser(text).template()


def captured(capture: Capture, segments: list[str]) -> str:
    """A variable's value, with its percent-escapes undone.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; the escapes are not those of UTF-8 text.
    """
    if capture.is_single:
        raw = segments[capture.start]
        return unescape(raw, capture.field) if "%" in raw else raw
    raw = "/".join(segments[capture.start : capture.end])
    if "%" not in raw:
        return raw
    # Among several segments an escaped slash stays escaped, else it could not be told apart.
    parts = _SLASH.split(raw)
    return "".join(
        part if _SLASH.fullmatch(part) else unescape(part, capture.field) for part in parts
    )


def unescape(text: str, field: str) -> str:
    """Text with its percent-escapes undone. Raises as `captured`."""
    if _BAD_ESCAPE.search(text):
        raise _not_text(field)
    try:
        return _ESCAPED.sub(lambda run: bytes.fromhex(run[0].replace("%", "")).decode(), text)
    except UnicodeDecodeError:
        raise _not_text(field) from None


def _not_text(field: str) -> InvalidArgument:
    fix = "percent-encode the bytes of UTF-8 text"
    return invalid(Violation(field, "has percent-escapes that are not UTF-8 text", fix))
