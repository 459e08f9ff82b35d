"""How a request ended, in words of closed sets: whatever clients make up is in none. Pure."""

from typing import Final, NamedTuple

from gateway.errors import CLIENT_CLOSED
from services.chassis.histograms import OTHER

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})


class Outcome(NamedTuple):
    """What metrics and lines say of it."""

    route: str
    """Its template; `other` where there is none."""
    method: str
    status: int
    """499 where the client went away before there was one."""


def outcome(route: str, method: str, status: int) -> Outcome:
    """The outcome of a request at `route` (empty: none) that was answered `status` (0: nothing)."""
    known = method if method in _METHODS else OTHER
    return Outcome(route or OTHER, known, status or CLIENT_CLOSED)
