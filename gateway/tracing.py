"""The edge's span of a request. It has no query, and no header."""

from typing import Final

from services.chassis.context import current
from services.chassis.tracing import names
from services.chassis.tracing.spans import Nothing, Span, entered

_LONGEST: Final = 256


def served(method: str, path: str) -> Span | Nothing:
    """Of a request that came in; the current context is its own. It ends with the exchange."""
    serving = entered(method, facts={names.HTTP_METHOD: method, names.URL_PATH: path[:_LONGEST]})
    serving.set(names.TENANT, current.get().principal.tenant)
    return serving


def name_after(serving: Span | Nothing, method: str, route: str) -> None:
    """Call it by its route, as soon as that is known."""
    if isinstance(serving, Span) and route:
        serving.name = f"{method} {route}"
        serving.set(names.HTTP_ROUTE, route)


def answered(serving: Span | Nothing, status: int) -> None:
    """What was answered. The caller's faults are no failure of the edge's."""
    serving.set(names.HTTP_STATUS, status)
    if status >= 500:
        serving.fail(str(status))
