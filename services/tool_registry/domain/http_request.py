"""An HTTP request made of a target and a call's input. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from services.chassis.errors import InvalidArgument, Violation, invalid
from services.tool_registry.domain import http_fields
from services.tool_registry.domain.http_target import VARIABLE, places, properties_of
from services.tool_registry.domain.targets import Http

MAX_URL: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is to be sent, but for what proves who sends it."""

    url: str
    headers: Mapping[str, str]
    content: bytes | None


class Template:
    """A target, read once, which makes a request of each input."""

    def __init__(self, target: Http, schema: Mapping[str, object]) -> None:
        """The target has no faults for inputs of this schema."""
        url, _, query = target.url.partition("?")
        self._target = target
        self._pieces = VARIABLE.split(url)  # Text and names of fields, in turn.
        self._query = query
        self._placed = frozenset(name for _, name in places(target))
        self._has_rest = not self._placed >= set(properties_of(schema))
        content_type = {} if target.method not in http_fields.WITH_BODY else _CONTENT_TYPE
        own = {name.lower() for name in target.headers}
        common = {**_COMMON, **content_type}
        self._headers = {
            **{name: value for name, value in common.items() if name not in own},
            **target.headers,
        }

    def prepared(self, arguments: Mapping[str, object]) -> Prepared:
        """The request for an input.

        Raises:
            InvalidArgument: `TOOL_INPUT_INVALID`; a value cannot stand where it has to.
        """
        target = self._target
        rest = {name: value for name, value in arguments.items() if name not in self._placed}
        in_query = {name: arguments[name] for name in target.query if name in arguments}
        content: bytes | None = None
        if target.method not in http_fields.WITH_BODY:
            in_query |= rest
        elif target.body:
            content = _json(arguments[target.body]) if target.body in arguments else None
        elif rest or self._has_rest:
            content = _json(rest)
        headers = {**self._headers, **self._header_fields(arguments)}
        if content is None:
            headers = {name: each for name, each in headers.items() if name.lower() != _TYPE}
        return Prepared(self._url(arguments, in_query), headers, content)

    def _header_fields(self, arguments: Mapping[str, object]) -> Mapping[str, str]:
        headers: dict[str, str] = {}
        for name, field in self._target.header_fields.items():
            if arguments.get(field) is not None:
                value = ",".join(_texts(arguments[field], field))
                if not http_fields.is_value(value):
                    fix = "send ASCII on one line, without spaces around it"
                    raise _unfit(field, "cannot be the value of a header", fix)
                headers[name] = value
        return headers

    def _url(self, arguments: Mapping[str, object], in_query: Mapping[str, object]) -> str:
        url = "".join(
            _segment(arguments.get(piece), piece) if index % 2 else piece
            for index, piece in enumerate(self._pieces)
        )
        pairs = [
            f"{quote(name, safe='')}={quote(text, safe='')}"
            for name, value in in_query.items()
            if value is not None
            for text in _texts(value, name)
        ]
        query = "&".join(filter(None, [self._query, *pairs]))
        whole = f"{url}?{query}" if query else url
        if len(whole) > MAX_URL:
            message = f"makes a URL of {len(whole):,} characters"
            raise invalid(
                Violation("input", message, f"send less: at most {MAX_URL:,} are sent"),
                reason="TOOL_INPUT_INVALID",
            )
        return whole


_TYPE: Final = "content-type"
_CONTENT_TYPE: Final = {_TYPE: "application/json"}
_COMMON: Final = {"accept": "application/json, */*;q=0.5", "accept-encoding": "gzip, deflate"}


def _segment(value: object, field: str) -> str:
    """A value in the path. It stays the segment that it is: it leads nowhere else."""
    texts = [] if value is None else _texts(value, field)
    if not texts or not all(texts):
        raise _unfit(field, "is empty, and stands in the path", "send a value")
    for text in texts:
        if not {".", ".."}.isdisjoint(text.replace("\\", "/").split("/")):
            fix = "send a value without . and .. between slashes"
            raise _unfit(field, "would lead to another path", fix)
    return ",".join(quote(text, safe="") for text in texts)


def _texts(value: object, field: str) -> list[str]:
    """A value as text; a list as several."""
    values = value if isinstance(value, list | tuple) else [value]
    texts: list[str] = []
    for each in values:
        if isinstance(each, str):
            texts.append(each)
        elif isinstance(each, bool | int | float):
            texts.append(json.dumps(each))
        else:
            fix = "send a string, a number, a boolean or a list of these"
            raise _unfit(field, "can be no object, no null and no list within a list here", fix)
    return texts


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _unfit(field: str, problem: str, fix: str) -> InvalidArgument:
    return invalid(Violation(f"input.{field[:64]}", problem, fix), reason="TOOL_INPUT_INVALID")
