"""What an HTTP target may say: checked when a tool is registered, all of it at once. Pure."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from services.chassis.errors import Violation
from services.tool_registry.domain import http_fields, names, pointer
from services.tool_registry.domain.targets import Http

MAX_URL: Final = 2048
MAX_FIELDS: Final = 128
VARIABLE: Final = re.compile(r"\{([^{}/]+)\}")

_AT: Final = "tool.http"
_URL: Final = re.compile(
    r"(?i:https?)://"
    r"(?P<host>\[[0-9A-Za-z:.%]+\]|[A-Za-z0-9_.-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2}|\{\})*)?"
    r"(?P<query>\?(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?",
    re.ASCII,
)
_PLACEHOLDER: Final = "{}"
_DOTS: Final = re.compile(r"/(\.|%2e){1,2}(/|$)", re.IGNORECASE)
# Each scheme of `auth`, and whether it wants a name.
_SCHEMES: Final = {"bearer": False, "basic": False, "header": True, "query": True}


def host_of(url: str) -> str:
    """The host of a URL; empty if it is none that a target may have."""
    shape = _shape(url)
    return shape["host"] if shape else ""


def variables(url: str) -> list[str]:
    """The fields that a template's path names."""
    return VARIABLE.findall(url)


def properties_of(schema: Mapping[str, object]) -> Mapping[str, object]:
    """The fields that an input has, as its schema lists them at its root."""
    properties = schema.get("properties")
    return properties if isinstance(properties, Mapping) else {}


def faults(target: Http, schema: Mapping[str, object]) -> Iterator[Violation]:
    """What is wrong with a target for an input of this schema."""
    if target.method not in http_fields.METHODS:
        fix = f"use one of {', '.join(http_fields.METHODS)}"
        yield Violation(f"{_AT}.method", "is no method that tools have", fix)
    yield from url_faults(target.url)
    yield from _header_faults(target)
    yield from _field_faults(target, schema)
    if len(target.result) > pointer.MAX_CHARACTERS or not pointer.POINTER.fullmatch(target.result):
        fix = "use such as /data/0/name, or leave it out"
        yield Violation(f"{_AT}.result", "is no JSON Pointer (RFC 6901)", fix)
    yield from auth_faults(target, schema)


def _shape(url: str) -> re.Match[str] | None:
    if len(url) > MAX_URL or _PLACEHOLDER in url:
        return None
    return _URL.fullmatch(VARIABLE.sub(_PLACEHOLDER, url))


def url_faults(url: str) -> Iterator[Violation]:
    shape = _shape(url)
    if shape is None:
        fix = (
            "use http:// or https://, a host in ASCII, and fields in braces in the path only,"
            f" such as https://api.example/v1/cities/{{city}}; at most {MAX_URL:,} characters"
        )
        yield Violation(f"{_AT}.url", "is no absolute URL that a tool can have", fix)
        return
    if shape["port"] is not None and not 0 < int(shape["port"]) <= 65535:
        yield Violation(f"{_AT}.url", "has no port that there is", "use 1 to 65535")
    if _DOTS.search(shape["path"] or ""):
        yield Violation(f"{_AT}.url", "has . or .. in its path", "write where it leads")


def _header_faults(target: Http) -> Iterator[Violation]:
    names = [*target.headers, *target.header_fields]
    if len(names) > http_fields.MAX_HEADERS:
        fix = f"use at most {http_fields.MAX_HEADERS}"
        yield Violation(f"{_AT}.headers", f"has {len(names)} headers", fix)
        return
    for where in ("headers", "header_fields"):
        for name in getattr(target, where):
            if problem := http_fields.problem_of_name(name):
                yield Violation(f"{_AT}.{where}.{name[:64]}", *problem)
    for name, count in Counter(name.lower() for name in names).items():
        if count > 1:
            yield Violation(f"{_AT}.headers.{name[:64]}", "is said twice", "say it once")
    yield from _value_faults(target)


def _value_faults(target: Http) -> Iterator[Violation]:
    if "content-type" in map(str.lower, target.header_fields):
        fix = "leave it out, or say which kind of JSON in headers"
        yield Violation(f"{_AT}.header_fields", "has the content type, which is JSON", fix)
    for name, value in target.headers.items():
        if not http_fields.is_value(value):
            fix = f"use ASCII on one line, at most {http_fields.MAX_VALUE:,} characters"
            yield Violation(f"{_AT}.headers.{name[:64]}", "has a value no header has", fix)
        elif name.lower() == "content-type" and not http_fields.is_json(value):
            fix = "use application/json or a type ending in +json, or leave it out"
            yield Violation(f"{_AT}.headers.{name}", "is not JSON, which the body is", fix)


def places(target: Http) -> list[tuple[str, str]]:
    """Each field that a target names, after where it does so."""
    body = [(f"{_AT}.body", target.body)] if target.body else []
    return [
        *((f"{_AT}.url", name) for name in variables(target.url)),
        *((f"{_AT}.query", name) for name in target.query),
        *((f"{_AT}.header_fields", name) for name in target.header_fields.values()),
        *body,
    ]


def _field_faults(target: Http, schema: Mapping[str, object]) -> Iterator[Violation]:
    properties, required = properties_of(schema), schema.get("required")
    needed = required if isinstance(required, list | tuple) else ()
    placed = places(target)
    if len(placed) > MAX_FIELDS:
        yield Violation(_AT, f"names {len(placed)} fields", f"use at most {MAX_FIELDS}")
        return
    seen: set[str] = set()
    for where, name in placed:
        if name not in properties:
            fix = f"add {name[:64]} to its properties, or leave it out here"
            yield Violation(where, f"{name[:64]!r} is no property of the input schema", fix)
        elif name in seen:
            yield Violation(where, f"{name[:64]!r} has two places", "give it one")
        elif where.endswith(".url") and name not in needed:
            fix = f"add {name[:64]} to `required` of the input schema"
            yield Violation(where, f"{name[:64]!r} is in the path and may be left out", fix)
        seen.add(name)
    if target.body:
        yield from _body_faults(target, [name for name in properties if name not in seen])


def _body_faults(target: Http, left: list[str]) -> Iterator[Violation]:
    if target.method not in http_fields.WITH_BODY:
        fix = "leave it out, or use POST, PUT or PATCH"
        yield Violation(f"{_AT}.body", f"is none where the method is {target.method[:16]}", fix)
    for name in left[:3]:
        fix = "put it into the query string or a header, or into the body's own field"
        yield Violation(f"{_AT}.body", f"leaves no place for {name[:64]!r}", fix)


def auth_faults(target: Http, schema: Mapping[str, object]) -> Iterator[Violation]:
    auth = target.auth
    if auth is None:
        return
    if auth.scheme not in _SCHEMES:
        fix = f"use one of {', '.join(_SCHEMES)}"
        yield Violation(f"{_AT}.auth.scheme", "is no way to prove who sends a request", fix)
        return
    if not names.SECRET.fullmatch(auth.secret):
        fix = "use 1 to 64 of A-Z a-z 0-9 _ . -, beginning with a letter or a digit"
        yield Violation(f"{_AT}.auth.secret", "is no name of a secret", fix)
    if bool(auth.name) != _SCHEMES[auth.scheme]:
        wanted = "give" if _SCHEMES[auth.scheme] else "leave out"
        yield Violation(f"{_AT}.auth.name", f"with {auth.scheme}", f"{wanted} the name")
    elif auth.name and (problem := _clash(target, auth.scheme, auth.name, schema)):
        yield Violation(f"{_AT}.auth.name", problem, "use another name, or leave the other out")


def _clash(target: Http, scheme: str, name: str, schema: Mapping[str, object]) -> str:
    """What is wrong with the header or the parameter that takes the secret."""
    if len(name) > http_fields.MAX_NAME:
        return "is too long"
    if scheme == "query":
        return "is a field of the input too" if name in properties_of(schema) else ""
    low = name.lower()
    if low in {each.lower() for each in (*target.headers, *target.header_fields)}:
        return "is a header of the target too"
    problem = None if low == "authorization" else http_fields.problem_of_name(name)
    return problem[0] if problem else ""
