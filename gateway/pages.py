"""Files that the edge shows: the description of its routes, and a page that renders it."""

import base64
import hashlib
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

from gateway.exchange import Exchange, Header
from gateway.operations import Own

_INLINE: Final = re.compile(rb"<(script|style)>(.*?)</\1>", re.DOTALL)


class File(Own):
    """A file of ours, read once, when it is asked for first. Who has it already is told so."""

    def __init__(self, route: str, name: str, media_type: str) -> None:
        self.route = route
        self._name = name
        self._media: Header = (b"content-type", media_type.encode())
        self._body = b""
        self._etag = b""
        self._headers: list[Header] = []

    async def __call__(self, exchange: Exchange, captures: Mapping[str, str]) -> None:
        """Show it."""
        if not self._body:
            self._read()
        if is_known(exchange.head.fields.get(b"if-none-match", b""), self._etag):
            await exchange.answer_nothing(*self._headers, status=304)
            return
        await exchange.answer(200, self._body, *self._headers, media=self._media)

    def _read(self) -> None:
        body = (files("gateway") / self._name).read_bytes()
        self._etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'.encode()
        self._headers = [
            (b"etag", self._etag),
            (b"cache-control", b"no-cache"),  # It may be kept, but is to be asked for.
            (b"x-content-type-options", b"nosniff"),
            (b"content-security-policy", policy(body)),
        ]
        self._body = body


def is_known(said: bytes, etag: bytes) -> bool:
    """Whether `If-None-Match` has it (RFC 9110, 13.1.2: a weak comparison)."""
    if said.strip() == b"*":
        return True
    return etag in {each.strip().removeprefix(b"W/") for each in said.split(b",")}


def policy(page: bytes) -> bytes:
    """What a page may do: run what stands in it and ask this edge, and nothing else."""
    allowed: dict[str, list[str]] = {"script": [], "style": []}
    for kind, text in _INLINE.findall(page):
        digest = base64.b64encode(hashlib.sha256(text).digest()).decode()
        allowed[kind.decode()].append(f"'sha256-{digest}'")
    parts = [
        "default-src 'none'",
        "connect-src 'self'",
        *(f"{kind}-src {' '.join(hashes)}" for kind, hashes in allowed.items() if hashes),
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    return "; ".join(parts).encode()
