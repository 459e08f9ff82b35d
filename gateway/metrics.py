"""What the edge measures: requests by route, how they end, and how many are under way."""

from typing import Final

from gateway.errors import CLIENT_CLOSED
from services.chassis.histograms import OTHER, Histogram
from services.chassis.metrics import Metrics, Reading

DURATION: Final = "runplane_edge_request_duration_seconds"
IN_FLIGHT: Final = "runplane_edge_requests_in_flight"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})


class Requests:
    """What requests took."""

    def __init__(self) -> None:
        self._active: dict[tuple[str, ...], float] = {("http",): 0.0, ("websocket",): 0.0}
        labels = ("route", "method", "status")
        self._histogram = Histogram(
            DURATION,
            "What requests took, streams and WebSockets to their end. The route is its template; "
            "other, where there is none.",
            labels,
        )

    def begin(self, kind: str) -> None:
        """Count a request in."""
        self._active[kind,] += 1

    def end(self, kind: str, took: float, said: tuple[str, str, int], trace_id: str) -> None:
        """Count it out. `said` are its route, if it has any, its method and its answer's status."""
        self._active[kind,] -= 1
        route, method, status = said
        known = method if method in _METHODS else OTHER
        series = self._histogram.of(route or OTHER, known, str(status or CLIENT_CLOSED))
        series.observe(took, trace_id)

    def show_in(self, metrics: Metrics) -> None:
        """Show them there."""
        metrics.show(
            self._histogram,
            Reading(
                IN_FLIGHT,
                "Requests and WebSockets under way.",
                ("kind",),
                lambda: self._active,
            ),
        )
