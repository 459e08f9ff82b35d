"""What the edge measures: requests by route, how they end, and how many are under way."""

from typing import Final

from gateway.outcomes import Outcome
from services.chassis.histograms import Histogram
from services.chassis.metrics import Metrics, Reading

DURATION: Final = "runplane_edge_request_duration_seconds"
IN_FLIGHT: Final = "runplane_edge_requests_in_flight"


class Requests:
    """What requests took."""

    def __init__(self) -> None:
        self._active: dict[tuple[str, ...], float] = {("http",): 0.0, ("websocket",): 0.0}
        self._histogram = Histogram(
            DURATION,
            "What requests took, streams and WebSockets to their end. The route is its template; "
            "other, where there is none.",
            Outcome._fields,
        )

    def begin(self, kind: str) -> None:
        """Count a request in."""
        self._active[kind,] += 1

    def end(self, kind: str, outcome: Outcome, took: float, trace_id: str) -> None:
        """Count it out."""
        self._active[kind,] -= 1
        route, method, status = outcome
        self._histogram.of(route, method, str(status)).observe(took, trace_id)

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
