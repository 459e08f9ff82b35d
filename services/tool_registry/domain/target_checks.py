"""What a target may say: bounds and forms of its fields, before its maker looks at it. Pure."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from services.chassis.errors import Violation
from services.tool_registry.domain.targets import Builtin, Client, Grpc, Http, HttpAuth, Mcp
from services.tool_registry.domain.tool import Entry

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
SCHEMES: Final = ("bearer", "basic", "header", "query")
MAX_URL: Final = 2048
MAX_NAMES: Final = 64
MAX_NAME: Final = 128
MAX_HEADERS: Final = 32
MAX_VALUE: Final = 1024
MAX_DESCRIPTORS_BYTES: Final = 512 * 1024

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")  # RFC 9110, 5.6.2
_KEY: Final = re.compile(r"[0-9a-z_.-]{1,128}")
_VALUE: Final = re.compile(r"[\x20-\x7e\x80-\U0010ffff]{0,1024}")
_SECRET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_ADDRESS: Final = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}")
_METHOD: Final = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*/[A-Za-z_]\w*", re.ASCII)
_NAMED: Final = "name a secret: 1 to 64 of A-Z a-z 0-9 _ . -"


def faults(entry: Entry) -> Iterator[Violation]:
    """What is wrong with an entry's target."""
    yield from _CHECKS[type(entry.target)](entry.target)


def _none(target: Builtin) -> Iterator[Violation]:
    yield Violation("tool", "does not say where it runs", "set http, grpc or client")


def _fine(target: Client) -> Iterator[Violation]:
    yield from ()


def _mcp(target: Mcp) -> Iterator[Violation]:
    for name, value in (("server", target.server), ("tool", target.tool)):
        if not 0 < len(value) <= MAX_NAME:
            fix = f"send 1 to {MAX_NAME} characters"
            yield Violation(f"tool.mcp.{name}", "is no name", fix)


def _http(target: Http) -> Iterator[Violation]:
    if target.method not in METHODS:
        fix = f"use one of {', '.join(METHODS)}"
        yield Violation("tool.http.method", "is no method for a tool", fix)
    if problem := _url_problem(target.url):
        fix = "send an absolute URL such as https://api.example/v1/cities/{city}"
        yield Violation("tool.http.url", problem, fix)
    yield from _names("tool.http.query", target.query)
    yield from _pairs("tool.http.headers", target.headers, _TOKEN)
    yield from _pairs("tool.http.header_fields", target.header_fields, _TOKEN)
    if len(target.body) > MAX_NAME:
        yield Violation("tool.http.body", "is no input field", "name a field of the input")
    if target.result and (target.result[0] != "/" or len(target.result) > MAX_VALUE):
        fix = "send a JSON Pointer such as /data/0, or leave it out"
        yield Violation("tool.http.result", "is no JSON Pointer", fix)
    if target.auth is not None:
        yield from _auth(target.auth)


def _auth(auth: HttpAuth) -> Iterator[Violation]:
    field = "tool.http.auth"
    if auth.scheme not in SCHEMES:
        yield Violation(f"{field}.scheme", "is not known", f"use one of {', '.join(SCHEMES)}")
    if auth.scheme in {"header", "query"} and not _TOKEN.fullmatch(auth.name):
        fix = "name the header or the query parameter"
        yield Violation(f"{field}.name", "is no name", fix)
    if not _SECRET.fullmatch(auth.secret):
        yield Violation(f"{field}.secret", "is not the name of a secret", _NAMED)


def _grpc(target: Grpc) -> Iterator[Violation]:
    if not _ADDRESS.fullmatch(target.address):
        yield Violation("tool.grpc.address", "is no address", "send host:port")
    if len(target.method) > MAX_URL or not _METHOD.fullmatch(target.method):
        fix = "send one such as weather.v1.WeatherService/GetWeather"
        yield Violation("tool.grpc.method", "is no method", fix)
    if len(target.descriptor_set) > MAX_DESCRIPTORS_BYTES:
        fix = f"send at most {MAX_DESCRIPTORS_BYTES} bytes: the files that the method needs"
        yield Violation("tool.grpc.descriptor_set", "is too large", fix)
    yield from _pairs("tool.grpc.metadata", target.metadata, _KEY)
    if target.secret and not _SECRET.fullmatch(target.secret):
        yield Violation("tool.grpc.secret", "is not the name of a secret", _NAMED)


def _url_problem(url: str) -> str:
    if len(url) > MAX_URL:
        return f"has {len(url)} characters; at most {MAX_URL} are allowed"
    try:
        parts = urlsplit(url)
        is_absolute = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return "is no URL"
    if not is_absolute or not url.isprintable() or " " in url:
        return "is no absolute URL of http or https"
    if parts.username is not None or parts.password is not None:
        return "has a user or a password, which belong into auth"
    return ""


def _names(field: str, names: Collection[str]) -> Iterator[Violation]:
    if len(names) > MAX_NAMES:
        yield Violation(field, f"names {len(names)} fields", f"send at most {MAX_NAMES}")
    for index, name in enumerate(list(names)[:MAX_NAMES]):
        if not 0 < len(name) <= MAX_NAME:
            fix = f"send 1 to {MAX_NAME} characters"
            yield Violation(f"{field}[{index}]", "is no field of the input", fix)


def _pairs(field: str, pairs: Mapping[str, str], names: re.Pattern[str]) -> Iterator[Violation]:
    if len(pairs) > MAX_HEADERS:
        yield Violation(field, f"are {len(pairs)}", f"send at most {MAX_HEADERS}")
        return
    for name, value in pairs.items():
        if not names.fullmatch(name):
            yield Violation(f"{field}.{name[:64]}", "is no name", f"use {names.pattern}")
        elif not _VALUE.fullmatch(value):
            fix = f"send at most {MAX_VALUE} characters, none of control"
            yield Violation(f"{field}.{name}", "is no value", fix)


_CHECKS: Final[Mapping[type, Callable[[Any], Iterator[Violation]]]] = {
    Builtin: _none,
    Client: _fine,
    Mcp: _mcp,
    Http: _http,
    Grpc: _grpc,
}
