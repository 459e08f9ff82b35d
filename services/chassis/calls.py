"""What RPCs of this process take, how they end, and how many are under way."""

from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

from services.chassis.histograms import Histogram, Series
from services.chassis.metrics import Metrics, Reading

DURATION: Final = "runplane_rpc_duration_seconds"
IN_FLIGHT: Final = "runplane_rpc_in_flight"

Begin = Callable[[Any], "Call"]


class Call:
    """A call under way. `trace_id` may be told later."""

    __slots__ = ("_method", "_start", "trace_id")

    def __init__(self, method: "_Method") -> None:
        self._method = method
        self._start = perf_counter()
        self.trace_id = ""

    def end(self, context: Any) -> None:
        """Count it, once grpc is done with it."""
        self._method.active -= 1
        took = perf_counter() - self._start
        self._method.series(_code(context)).observe(took, self.trace_id)


class _Method:
    """A method's calls."""

    def __init__(self, histogram: Histogram, service: str, name: str) -> None:
        self.labels = (service, name)
        self.active = 0
        self._histogram = histogram
        self._by_code: dict[str, Series] = {}
        self.series("OK")  # Shown from the start, so that a rate has something to begin at.

    def begin(self, context: Any) -> Call:
        """Note that a call has begun, and hear when it is done."""
        self.active += 1
        call = Call(self)
        context.add_done_callback(call.end)
        return call

    def series(self, code: str) -> Series:
        """What calls took that ended so."""
        if (known := self._by_code.get(code)) is None:
            known = self._by_code[code] = self._histogram.of(*self.labels, code)
        return known


class Calls:
    """The calls of a server."""

    def __init__(self) -> None:
        description = "What calls took here, by how they ended."
        labels = ("rpc_service", "method", "code")
        self._histogram = Histogram(DURATION, description, labels)
        self._methods: list[_Method] = []

    def of(self, service: str, name: str) -> Begin:
        """What to tell when a call of this method begins."""
        method = _Method(self._histogram, service, name)
        self._methods.append(method)
        return method.begin

    def show_in(self, metrics: Metrics) -> None:
        """Show them there."""
        metrics.show(
            self._histogram,
            Reading(
                IN_FLIGHT,
                "Calls under way here.",
                ("rpc_service", "method"),
                lambda: {each.labels: float(each.active) for each in self._methods},
            ),
        )


def _code(context: Any) -> str:
    """How a call ended: grpc knows no code of those that went well, or that were cut short."""
    if (code := context.code()) is not None:
        return str(code.name)
    if context.done():
        return "OK"
    left = context.time_remaining()
    return "CANCELLED" if left is None or left > 0 else "DEADLINE_EXCEEDED"
