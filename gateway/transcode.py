"""HTTP's parts of a request (path, query, body) to one protobuf message, or a clear refusal."""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from gateway import members, nesting
from gateway.codec import ContentRefused, Method, NestingRefused, Rule, SyntaxRefused
from gateway.diagnosis import explain
from gateway.parameters import Parameters, value_of
from gateway.shapes import JSON, Shape
from gateway.templates import Template
from services.chassis.errors import InvalidArgument, Violation, invalid

ALL: Final = "*"
AFTER: Final = "after_sequence"
# Doubles that are no numbers, as they stand in a message. A look at the bytes finds them however
# the text wrote them; a hit may be a coincidence and is then explained away.
_NOT_FINITE: Final = tuple(
    bytes(6) + end for end in (b"\xf0\x7f", b"\xf0\xff", b"\xf8\x7f", b"\xf8\xff")
)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
# What stands before or between values, in texts as well. Reading takes 4 µs for each.
_SEPARATORS: Final = (b",", b"[", b"{")
MAX_VALUES: Final = 250_000
_LONG_NUMBER: Final = re.compile(rb"\d{16}")
_LITERALS: Final = (b"NaN", b"Infinity", b"-Infinity")


@dataclass(frozen=True, slots=True)
class Encoded:
    """A request as gRPC sends it."""

    raw: bytes
    timeout_ms: float
    """How long the request itself says that it may take; 0 when it does not say."""
    choice: str = ""
    """Of a message that is one of several things: the field that says which."""


class Transcoder:
    """Requests of one route."""

    def __init__(self, method: Method, rule: Rule, template: Template) -> None:
        self._codec = method.request
        self._shape = method.request.shape
        self._body = rule.body
        captured = frozenset(each.field for each in template.captures)
        taken = captured | ({rule.body} if rule.body else frozenset())
        self._parameters = Parameters(self._shape, taken=taken, has_query=rule.body != ALL)
        self._choices = [self._keys(names) for names in self._shape.choices]
        self._other_spelling = _any_of(self._shape.spellings)
        # Where the path has said what is meant, as in `:cancel`, there may be nothing to add.
        self._may_be_empty = bool(captured)
        self._check(captured, rule)

    @property
    def takes_body(self) -> bool:
        """Whether a body may come."""
        return bool(self._body)

    @property
    def is_resumable(self) -> bool:
        """Whether asking again with the last event's id goes on where a stream ended."""
        return not self._body and AFTER in self._shape.fields

    def encode(
        self, captures: Mapping[str, str], query: bytes, body: bytes, last_event_id: str = ""
    ) -> Encoded:
        """The request. `last_event_id` is where a resumable stream goes on.

        Raises:
            InvalidArgument: `JSON_INVALID`, or `INVALID_REQUEST` naming field and fix.
        """
        message = self._codec.new()
        if self._body and (body or not self._may_be_empty):
            self._refuse_unread(body)
            text = body if self._body == ALL else self._as_member(body)
            self._guarded(lambda: self._codec.merge(message, text), text)
            self._refuse_repeated(body)
        parameters = b""
        if captures or query or last_event_id:
            document = self._parameters.document(captures, query)
            if last_event_id and self.is_resumable:  # A browser repeats the first URL, and adds it.
                after = self._shape.fields[AFTER]
                document[AFTER] = value_of(after, "last-event-id", last_event_id)
            parameters = json.dumps(document).encode()
            self._guarded(lambda: self._codec.merge(message, parameters), parameters)
        self._refuse_several(body)
        raw = message.to_binary()
        if any(mark in raw for mark in _NOT_FINITE) or (
            self._shape.holds_free and _LONG_NUMBER.search(body)
        ):
            self._refuse_misfits(body)
        return Encoded(raw, self._codec.timeout_ms(message), self._codec.choice(message))

    def _refuse_unread(self, body: bytes) -> None:
        """Refuse what must not reach the codec."""
        if not body:
            raise InvalidArgument(
                "JSON_INVALID",
                "the body is empty",
                field="body",
                suggested_fix="send a JSON object",
            )
        if nesting.is_too_deep(body):
            raise _too_deep()
        if sum(map(body.count, _SEPARATORS)) > MAX_VALUES:
            raise InvalidArgument(
                "BODY_TOO_LARGE",
                f"the body has more than {MAX_VALUES:,} values",
                field="body",
                suggested_fix="send less",
            )

    def _as_member(self, body: bytes) -> bytes:
        """A body that is one field's value, as the message with that field."""
        value = _loaded(body)
        return json.dumps({self._body: value}).encode()

    def _guarded(self, merge: Callable[[], None], text: bytes) -> None:
        try:
            merge()
        except SyntaxRefused as refused:
            raise _syntax(refused, text) from None
        except NestingRefused:
            raise _too_deep() from None
        except ContentRefused:
            violation = explain(self._shape, _loaded(text))
            raise invalid(self._as_sent(violation or _unexplained(self._shape))) from None

    def _keys(self, names: tuple[str, ...]) -> list[bytes]:
        """How these fields stand in a text."""
        fields = self._shape.fields.items()
        return [f'"{spelt}"'.encode() for spelt, field in fields if field.name in names]

    def _refuse_repeated(self, body: bytes) -> None:
        """Refuse a name that is there twice, be it in both of its spellings: the codec takes the
        last."""
        members.loaded(body)
        if self._other_spelling.search(body):
            self._refuse_misfits(body)

    def _refuse_several(self, body: bytes) -> None:
        """Refuse a message that is two things at once: the codec takes the last."""
        for keys in self._choices:
            if b"\\u" in body or sum(key in body for key in keys) > 1:
                self._refuse_misfits(body)

    def _refuse_misfits(self, body: bytes) -> None:
        text = body if self._body == ALL else self._as_member(body)
        if (violation := explain(self._shape, _loaded(text))) is not None:
            raise invalid(self._as_sent(violation))

    def _as_sent(self, violation: Violation) -> Violation:
        """Where the body is one field of the request, its members are named as they were sent."""
        if self._body in {"", ALL}:
            return violation
        name = "body" if violation.field == self._body else violation.field
        return replace(
            violation,
            field=name.removeprefix(f"{self._body}."),
            schema_path=violation.schema_path.removeprefix(f"/properties/{self._body}"),
        )

    def _check(self, captured: frozenset[str], rule: Rule) -> None:
        """Refuse a contract that names fields which are not there."""
        for name in captured:
            self._parameters.resolve(name)
        if rule.body not in {"", ALL} and rule.body not in self._shape.fields:
            raise ValueError(f"{rule}: {self._shape.name} has no field {rule.body}")


def _any_of(names: Collection[str]) -> re.Pattern[bytes]:
    """Finds one of these as a name in a text, or a name that is written by escapes."""
    listed = "|".join(map(re.escape, sorted(names)))
    plain = f'"(?:{listed})"|'.encode() if names else b""
    return re.compile(plain + rb'\\u[0-9A-Fa-f]{4}[^"\\]*"[ \t\r\n]*:')


def _loaded(body: bytes) -> JSON:
    try:
        value: JSON = json.loads(body, parse_int=members.integer, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        refused = SyntaxRefused(
            error.msg, line=error.lineno, column=error.colno, position=error.pos
        )
        raise _syntax(refused, body) from None
    except ValueError:
        raise InvalidArgument(
            "JSON_INVALID",
            "the body is not UTF-8 text or has a number that JSON does not have",
            field="body",
            suggested_fix="send JSON in UTF-8",
        ) from None
    if b"\\u" in body and _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        raise InvalidArgument(
            "JSON_INVALID",
            "the body has half a surrogate pair, which is no text",
            field="body",
            suggested_fix="send both halves, or the character itself in UTF-8",
        )
    return value


def _refuse_constant(literal: str) -> JSON:
    raise ValueError(literal)


def _syntax(refused: SyntaxRefused, text: bytes) -> InvalidArgument:
    rest = text[refused.position : refused.position + 9]
    fault, fix = refused.fault, "send valid JSON in UTF-8"
    if rest.startswith(_LITERALS):
        fault, fix = "NaN and Infinity are not JSON", "send a finite number or leave it out"
    elif text.startswith(b"\xef\xbb\xbf"):
        fault, fix = "a byte order mark is not JSON", "send the text without it"
    return InvalidArgument(
        "JSON_INVALID",
        f"the body is not JSON: {fault} (line {refused.line}, column {refused.column})",
        line=str(refused.line),
        column=str(refused.column),
        field="body",
        suggested_fix=fix,
    )


def _too_deep() -> InvalidArgument:
    return InvalidArgument(
        "JSON_INVALID",
        "the body is nested too deeply",
        field="body",
        suggested_fix="nest objects and lists at most 45 levels deep",
    )


def _unexplained(shape: Shape) -> Violation:
    return Violation("body", f"does not fit {shape.name}", "see the contract of this route")
