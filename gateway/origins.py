"""Which pages may act here. Browsers say where a page is from, and ask nobody before they send."""

from collections.abc import Collection
from typing import Final

from services.chassis.errors import PermissionDenied

# What changes nothing; a page cannot read the answer.
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_PORTS: Final = {"http": ":80", "https": ":443"}


def check_origin(origin: str, host: str, allowed: Collection[str]) -> None:
    """Refuse a page from elsewhere; whoever sends no `Origin` is no page.

    Raises:
        PermissionDenied: `ORIGIN_NOT_ALLOWED`.
    """
    said = origin.lower()
    if not said or "*" in allowed or said in allowed or _is_same(said, host.lower()):
        return
    raise PermissionDenied(
        "ORIGIN_NOT_ALLOWED",
        f"pages from {origin[:200]} may only read here, and open no WebSockets",
        field="origin",
        origin=origin[:200],
        suggested_fix="use a page of this host, or add its origin to GATEWAY_ALLOWED_ORIGINS",
    )


def _is_same(origin: str, host: str) -> bool:
    scheme, _, place = origin.partition("://")
    port = _PORTS.get(scheme)
    if not port or not place:
        return False
    return place.removesuffix(port) == host.removesuffix(port)
