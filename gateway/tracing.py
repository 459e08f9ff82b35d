"""The edge's span of a request. It has no query, no header, and no path that leads nowhere: those
may hold anything."""

from typing import Final

from services.chassis.context import Link, current
from services.chassis.tracing import names
from services.chassis.tracing.spans import Nothing, Span, entered

_LONGEST: Final = 256


def served(method: str, elsewhere: Link | None) -> Span | Nothing:
    """Of a request that came in; the current context is its own. It ends with the exchange. It is
    linked to `elsewhere`, if its caller has a trace that is not gone on with."""
    serving = entered(method, facts={names.HTTP_METHOD: method})
    serving.set(names.TENANT, current.get().principal.tenant)
    if elsewhere is not None:
        serving.link(*elsewhere)
    return serving


def name_after(serving: Span | Nothing, method: str, route: str, path: str) -> None:
    """Call it by its route, as soon as that is known."""
    if isinstance(serving, Span) and route:
        serving.name = f"{method} {route}"
        serving.set(names.HTTP_ROUTE, route)
        serving.set(names.URL_PATH, path[:_LONGEST])


def answered(serving: Span | Nothing, status: int) -> None:
    """What was answered. The caller's faults are no failure of the edge's."""
    serving.set(names.HTTP_STATUS, status)
    if status >= 500:
        serving.fail(str(status))
