"""Pages of a browser on this machine that have their own name lead to it (DNS rebinding): by the
name that a request was sent to they are told from those who mean this process."""

import ipaddress
import re
from typing import Final

from uvicorn._types import HTTPScope

_OWN: Final = re.compile(rb"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?", re.IGNORECASE)
_ADDRESS: Final = re.compile(rb"(\d+\.\d+\.\d+\.\d+|\[[0-9a-f:.]+\])(:\d+)?", re.IGNORECASE)


def is_own_name(host: bytes) -> bool:
    """Whether a `Host` is one of this machine's own on loopback."""
    return bool(_OWN.fullmatch(host))


def is_rebound(scope: HTTPScope) -> bool:
    """Whether a request came by loopback, and to somebody else's name. Addresses are no names."""
    server, host = scope["server"], dict(scope["headers"]).get(b"host", b"")
    if server is None or not host or is_own_name(host) or _ADDRESS.fullmatch(host):
        return False
    return ipaddress.ip_address(server[0]).is_loopback
