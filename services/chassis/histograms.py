"""Distributions, such as of what calls took: counts that are rendered when they are asked for.

An observation is a search among the bounds and two additions. Label values are the caller's to
choose; how many sets of them there are is bounded here, and what is beyond counts as `other`. Its
last label is kept: how something ended is what alerts ask for, and strangers can fill the rest.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

OTHER: Final = "other"
CANCELED: Final = "canceled"
"""The `error_type` of what nobody wanted to hear the end of."""
OTHER_ERROR: Final = "_OTHER"
"""That of what failed without a reason of its own: a bug."""
MOST: Final = 256
"""Sets of label values that a histogram or a tally keeps apart; so many more by the last label."""

SECONDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
"""From what a lookup takes to what the longest stream may."""
SIZES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
RATES: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)

Exemplar = tuple[float, str]
"""A value that was observed, and the trace that it was observed in."""


class Series:
    """One distribution."""

    __slots__ = ("_bounds", "counts", "exemplars", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.exemplars: list[Exemplar | None] = [None] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, trace_id: str = "") -> None:
        """Count a value; the bucket's last trace is its example."""
        place = bisect_left(self._bounds, value)
        self.counts[place] += 1
        self.total += value
        if trace_id:
            self.exemplars[place] = (value, trace_id)

    def buckets(self) -> Iterator[tuple[float, int, Exemplar | None]]:
        """Upper bound, how many were at most that, and an example that came to this bucket."""
        bounds = (*self._bounds, float("inf"))
        return zip(bounds, accumulate(self.counts), self.exemplars, strict=True)


class Histogram:
    """Distributions by label values."""

    def __init__(
        self,
        name: str,
        description: str,
        labels: Sequence[str] = (),
        bounds: Sequence[float] = SECONDS,
    ) -> None:
        self.name = name
        self.description = description
        self.labels = tuple(labels)
        self._bounds = bounds
        self.series: dict[tuple[str, ...], Series] = {}

    def of(self, *values: str) -> Series:
        """The distribution of these label values. With too many of them, it is all others'."""
        if (known := self.series.get(values)) is not None:
            return known
        return self.series.setdefault(_kept(values, len(self.series)), Series(self._bounds))

    def observe(self, value: float, *values: str, trace_id: str = "") -> None:
        """Count a value."""
        self.of(*values).observe(value, trace_id)


class Tally:
    """Counts by label values."""

    def __init__(self, name: str, description: str, labels: Sequence[str]) -> None:
        self.name = name
        """Without `_total`."""
        self.description = description
        self.labels = tuple(labels)
        self.counts: dict[tuple[str, ...], float] = {}

    def add(self, amount: float, *values: str) -> None:
        """Count so much more."""
        if values not in self.counts:
            values = _kept(values, len(self.counts))
        self.counts[values] = self.counts.get(values, 0.0) + amount


def _kept(values: tuple[str, ...], known: int) -> tuple[str, ...]:
    """What new label values count as, where so many sets are known."""
    if known < MOST:
        return values
    if len(values) > 1 and known < 2 * MOST:
        return (*(OTHER,) * (len(values) - 1), values[-1])
    return (OTHER,) * len(values)
