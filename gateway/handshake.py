"""Whether a request opens a WebSocket. What is nearly that is answered as the HTTP it is."""

import binascii
from collections.abc import Iterable
from typing import Final

# What the WebSocket library's own parser of heads takes at most.
MAX_HEADERS: Final = 128
MAX_LINE_BYTES: Final = 8000

_KEY_BYTES: Final = 16
_VERSION: Final = b"13"


def is_handshake(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether these are the headers of a handshake (RFC 6455, 4.2.1)."""
    said: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        said.setdefault(name, []).append(value.strip())
    connection = b",".join(said.get(b"connection", [])).lower().split(b",")
    return (
        [value.lower() for value in said.get(b"upgrade", [])] == [b"websocket"]
        and any(token.strip() == b"upgrade" for token in connection)
        and said.get(b"sec-websocket-version") == [_VERSION]
        and len(said.get(b"host", [])) == 1
        and len(said.get(b"origin", [])) <= 1
        and _is_key(said.get(b"sec-websocket-key", []))
    )


def _is_key(values: list[bytes]) -> bool:
    try:
        return len(values) == 1 and len(binascii.a2b_base64(values[0])) == _KEY_BYTES
    except binascii.Error:
        return False
