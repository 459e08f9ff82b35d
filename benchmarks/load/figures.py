"""Samples as figures."""

from collections.abc import Sequence
from math import ceil

from benchmarks.load.job import JSON


def quantile(samples: Sequence[float], share: float) -> float:
    """The nearest-rank quantile; 0 of nothing."""
    if not samples:
        return 0.0
    return sorted(samples)[max(ceil(share * len(samples)) - 1, 0)]


def summary_ms(seconds: Sequence[float]) -> dict[str, JSON]:
    """What a list of durations comes to, in milliseconds."""
    ordered = sorted(seconds)
    return {
        "n": len(ordered),
        "p50": quantile(ordered, 0.5) * 1e3,
        "p99": quantile(ordered, 0.99) * 1e3,
        "max": (ordered[-1] if ordered else 0.0) * 1e3,
    }
