"""Which names this edge answers to. A page that has its own name resolve to this machine has no
other way in (DNS rebinding): its browser takes the edge for the page's own server."""

import re
from collections.abc import Collection
from ipaddress import ip_address
from typing import Final

from services.chassis.errors import PermissionDenied

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
ALL: Final = "*"
_AUTHORITY_END: Final = re.compile(rb"[/?#]")


class Hosts:
    """The names that requests may be addressed to. None: all."""

    def __init__(self, allowed: Collection[str] | None) -> None:
        self._allowed = None if allowed is None else frozenset(each.encode() for each in allowed)

    def check(self, host: bytes) -> None:
        """Refuse a request that is addressed to somebody else.

        Raises:
            PermissionDenied: `HOST_NOT_ALLOWED`.
        """
        allowed = self._allowed
        if allowed is None or host in allowed or without_port(host).lower() in allowed:
            return
        said = host.decode("latin-1")[:200]
        raise PermissionDenied(
            "HOST_NOT_ALLOWED",
            f"this edge does not answer to the name {said or '(none)'}",
            field="host",
            host=said,
            suggested_fix="send it to localhost, or add the name to GATEWAY_ALLOWED_HOSTS",
        )


def hosts(listen: str, allowed: Collection[str]) -> Hosts:
    """What the settings say: those that are named; else, on loopback, its own names."""
    if ALL in allowed:
        return Hosts(None)
    if allowed:
        return Hosts(allowed)
    return Hosts(LOOPBACK if is_loopback(listen) else None)


def is_loopback(listen: str) -> bool:
    """Whether only this machine can reach an address to listen on."""
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def without_port(host: bytes) -> bytes:
    """A `Host` header's name; an IPv6 address keeps its brackets."""
    name, colon, port = host.rpartition(b":")
    return name if colon and port.isdigit() and (b":" not in name or name[-1:] == b"]") else host


def name_target(url: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """Put the host of a target that has one, `http://host/path`, in place of the `Host` header:
    that is the one that counts (RFC 9112, 3.2.2)."""
    scheme, is_absolute, rest = url.partition(b"://")
    if is_absolute and scheme.isalnum():
        host = _AUTHORITY_END.split(rest, maxsplit=1)[0]
        headers[:] = [(name, host if name == b"host" else value) for name, value in headers]
