"""What an HTTP target answered: as a value, or as why there is none."""

import asyncio
import json
import math
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import httpx2

from services.chassis.egress.secrets import NO_SECRETS, Scrub
from services.chassis.errors import ResourceExhausted, ServiceError, Unavailable
from services.chassis.schema import Schema
from services.tool_registry.domain import http_fields, pointer
from services.tool_registry.domain.refusals import SOON, too_large
from services.tool_registry.domain.result import check_size
from services.tool_registry.domain.size import LARGE_BYTES
from services.tool_registry.domain.tool import ToolFailure

MAX_RETRY_AFTER: Final = timedelta(hours=1)
_PIECES_AT_ONCE: Final = 64
_MAX_PIECES: Final = 50_000  # Of a byte each they would keep the processor for a minute.
_SHOWN_BYTES: Final = 2048
_SHOWN: Final = 200
_SHOWN_SECONDS: Final = 1
_ENCODINGS: Final = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})
_CHARSETS: Final = {"utf-8": "utf-8-sig", "utf8": "utf-8-sig", "us-ascii": "ascii"} | {
    name: name for name in ("ascii", "iso-8859-1", "latin-1", "windows-1252")
}
_CHARSET: Final = re.compile(r";\s*charset\s*=\s*\"?([A-Za-z0-9_-]{1,40})", re.ASCII)
_SPACE: Final = re.compile(r"[\s\x00-\x1f\x7f]+")
_FIXES: Final = {
    401: "check the secret that the tool names",
    403: "check what its secret allows",
    404: "check the input: there is nothing of that name",
    405: "check the tool's method",
    409: "check the state of what is changed",
    422: "check the input",
}


@dataclass(frozen=True, slots=True)
class Expected:
    """What an answer is read by."""

    tool: str
    output: Schema
    pointer: str
    max_bytes: int
    now: Callable[[], datetime]


async def value_of(
    response: httpx2.Response, expected: Expected, scrub: Scrub = NO_SECRETS
) -> object:
    """The result in an answer, without the secrets.

    Raises:
        ToolFailure: `HTTP_STATUS`, `TOOL_OUTPUT_INVALID` or `TOOL_RESULT_TOO_LARGE`.
        Unavailable: `TOOL_UNAVAILABLE`, with when to come back (503).
        ResourceExhausted: `TOOL_RATE_LIMITED`, with when to come back (429).
    """
    if not response.is_success:
        raise await _failure(response, expected, scrub)
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if not {each.strip() for each in encoding.split(",")} <= _ENCODINGS:
        message = f"{expected.tool} was answered in a content encoding it did not ask for"
        raise ToolFailure("TOOL_OUTPUT_INVALID", message)
    body = await _body(response, expected)
    if not body:
        return None
    said = response.headers.get("content-type", "")
    if len(body) > LARGE_BYTES:
        return await asyncio.to_thread(_read, body, said, expected, scrub)
    return _read(body, said, expected, scrub)


def _read(body: bytes, said: str, expected: Expected, scrub: Scrub) -> object:
    if http_fields.is_json(said):
        return _within(_parsed(body, said, expected), expected, scrub)
    return _text(body, said, expected, scrub)


async def _body(response: httpx2.Response, expected: Expected) -> bytes:
    """All of it, unpacked. Reading stops where it is too much, however small it was packed."""
    body = bytearray()
    if _length(response) > expected.max_bytes:
        raise _too_large(expected)
    async with aclosing(_pieces(response)) as pieces:
        count = 0
        async for piece in pieces:
            body += piece
            count += 1
            if len(body) > expected.max_bytes or count > _MAX_PIECES:
                raise _too_large(expected)
            if count % _PIECES_AT_ONCE == 0:
                await asyncio.sleep(0)  # Pieces of a byte come without any waiting between them.
    return bytes(body)


def _pieces(response: httpx2.Response) -> AsyncGenerator[bytes, None]:
    return response.aiter_bytes()


def _length(response: httpx2.Response) -> int:
    said = response.headers.get("content-length", "")
    return int(said) if said.isdecimal() and len(said) < 20 else 0


def _too_large(expected: Expected) -> ToolFailure:
    most = f"{expected.max_bytes:,} bytes, or more than {_MAX_PIECES:,} pieces"
    return too_large(expected.tool, f"more than {most}")


def _parsed(body: bytes, said: str, expected: Expected) -> object:
    media = http_fields.media_type(said)
    try:
        return json.loads(body.decode("utf-8-sig"), parse_constant=_constant)
    except UnicodeDecodeError:
        problem = "it is not UTF-8"
    except json.JSONDecodeError as error:
        problem = f"{error.msg} at line {error.lineno}, column {error.colno}"
    except (ValueError, RecursionError):
        problem = "it has numbers or levels that no JSON has here"
    message = f"{expected.tool} was answered with {media} that is no JSON: {problem}"
    raise ToolFailure("TOOL_OUTPUT_INVALID", message, is_targets=True)


def _constant(name: str) -> float:
    raise ValueError(name)


def _within(value: object, expected: Expected, scrub: Scrub) -> object:
    try:
        found = pointer.found(value, expected.pointer)
        check_size(expected.tool, expected.max_bytes, found)  # Scrubbing takes longer than this.
        return scrub.value(found)
    except LookupError:
        message = f"{expected.tool} was answered without anything at {expected.pointer}"
    except ValueError:
        message = f"{expected.tool} was answered with JSON that is nested too deep"
    raise ToolFailure("TOOL_OUTPUT_INVALID", message)


def _text(body: bytes, said: str, expected: Expected, scrub: Scrub) -> str:
    name = scrub.text(said[:100]).encode("ascii", "replace").decode()
    shown = f"content type {name}" if said.strip() else "no content type"
    if http_fields.is_text(said) and not expected.pointer:
        charset = _CHARSET.search(said)
        try:
            text = body.decode(_CHARSETS[charset[1].lower() if charset else "utf-8"])
        except (UnicodeDecodeError, KeyError):
            message = f"{expected.tool} was answered with text ({shown}) that cannot be read"
            raise ToolFailure("TOOL_OUTPUT_INVALID", message, is_targets=True) from None
        if expected.output.is_valid(text):
            return scrub.text(text)
    fix = "have the target answer application/json, or the tool's output schema allow strings"
    message = f"{expected.tool} was answered with {shown}, not with JSON"
    raise ToolFailure("TOOL_OUTPUT_INVALID", message, fix)


async def _failure(
    response: httpx2.Response, expected: Expected, scrub: Scrub
) -> ServiceError | ToolFailure:
    status, tool = response.status_code, expected.tool
    if kind := _REFUSALS.get(status):
        said = response.headers.get("retry-after", "")
        return kind(tool).after(retry_after(said, expected.now))
    piece = scrubbed_piece(await _beginning(response), scrub)
    told = f": {piece}" if piece else ""
    if response.is_redirect:
        told = "; redirects are followed for GET only, and where they say where to"
    message = f"{tool} was answered with HTTP status {status}{told}"
    fix = _FIXES.get(status, "")
    return ToolFailure("HTTP_STATUS", message, fix, is_targets=response.is_server_error)


def _unavailable(tool: str) -> ServiceError:
    return Unavailable("TOOL_UNAVAILABLE", f"{tool} is unavailable (HTTP status 503)", tool=tool)


def _limited(tool: str) -> ServiceError:
    message = f"{tool} is called too often (HTTP status 429)"
    return ResourceExhausted("TOOL_RATE_LIMITED", message, tool=tool)


_REFUSALS: Final[dict[int, Callable[[str], ServiceError]]] = {503: _unavailable, 429: _limited}


def retry_after(said: str, now: Callable[[], datetime]) -> timedelta:
    """What a `Retry-After` asks for: seconds or a date (RFC 9110, 10.2.3), within bounds."""
    said = said.strip()
    try:
        if said.isdecimal():
            asked = timedelta(seconds=min(int(said[:9]), MAX_RETRY_AFTER.total_seconds()))
        else:
            asked = parsedate_to_datetime(said) - now()
    except (ValueError, TypeError, OverflowError):
        return SOON
    seconds = math.ceil(asked.total_seconds())
    return min(max(timedelta(seconds=seconds), SOON), MAX_RETRY_AFTER)


async def _beginning(response: httpx2.Response) -> bytes:
    """The first of a body that says why, if it is text."""
    said = response.headers.get("content-type", "")
    if not http_fields.is_json(said) and not http_fields.is_text(said):
        return b""
    body = b""
    with suppress(httpx2.HTTPError, TimeoutError):  # The status is known, and worth more.
        async with asyncio.timeout(_SHOWN_SECONDS), aclosing(_pieces(response)) as pieces:
            async for piece in pieces:
                body += piece[: _SHOWN_BYTES + 1]
                if len(body) > _SHOWN_BYTES:
                    break
    return body[: _SHOWN_BYTES + 1]


def scrubbed_piece(body: bytes, scrub: Scrub) -> str:
    """A short line of what a body says. A secret at its end may be cut off, so the end goes."""
    text = scrub.text(body.decode("utf-8", "replace"))
    if len(body) > _SHOWN_BYTES:
        text = text[: max(0, len(text) - scrub.longest)]
    return _SPACE.sub(" ", text).strip()[:_SHOWN]
