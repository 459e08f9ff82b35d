"""Which pages may open WebSockets here. Browsers say where a page is from and refuse nothing."""

from collections.abc import Collection
from typing import Final

from services.chassis.errors import PermissionDenied

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
        f"pages from {origin[:200]} may not open WebSockets here",
        field="origin",
        origin=origin[:200],
        suggested_fix="open it from a page of this host, or add it to GATEWAY_ALLOWED_ORIGINS",
    )


def _is_same(origin: str, host: str) -> bool:
    scheme, _, place = origin.partition("://")
    port = _PORTS.get(scheme, "")
    return bool(place) and place.removesuffix(port) == host.removesuffix(port)
