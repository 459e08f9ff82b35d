"""What functions of PromQL make of samples. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from math import inf, isnan, nan
from typing import Final

from tests.promql.series import NAME, Labels, Vector

Samples = Sequence[tuple[float, float]]
_SPARSE: Final = 1.1
"""Where the next sample is further away than so many usual gaps, it is not expected."""


def without(name: Labels, *dropped: str) -> Labels:
    """The other labels."""
    return frozenset((label, value) for label, value in name if label not in dropped)


def told_apart(found: Iterable[tuple[Labels, float]]) -> Vector:
    """Them as a vector, which has nothing twice.

    Raises:
        ValueError: it would.
    """
    made: Vector = {}
    for name, value in found:
        if name in made:
            raise ValueError(f"many-to-many: more than one is {dict(name)}")
        made[name] = value
    return made


def increase(samples: Samples, start: float, end: float) -> float | None:
    """By how much a counter grew from start to end, extrapolated; None if that is not known."""
    if len(samples) < 2:
        return None
    (first, first_value), (last, last_value) = samples[0], samples[-1]
    resets = sum(before for (_, before), (_, after) in pairwise(samples) if after < before)
    grown, spanned = last_value - first_value + resets, last - first
    gap = spanned / (len(samples) - 1)
    before, after = first - start, end - last
    before = gap / 2 if before >= gap * _SPARSE else before
    after = gap / 2 if after >= gap * _SPARSE else after
    if grown > 0 and first_value >= 0:  # It was not below 0 before.
        before = min(before, spanned * first_value / grown)
    return grown * (spanned + before + after) / spanned


def rate(samples: Samples, start: float, end: float) -> float | None:
    """The same, a second."""
    grown = increase(samples, start, end)
    return None if grown is None else grown / (end - start)


def _values(samples: Samples) -> list[float]:
    return [value for _, value in samples]


OVER_TIME: Final[Mapping[str, Callable[[Samples, float, float], float | None]]] = {
    "rate": rate,
    "increase": increase,
    "avg_over_time": lambda samples, *_: sum(_values(samples)) / len(samples),
    "max_over_time": lambda samples, *_: max(_values(samples)),
    "min_over_time": lambda samples, *_: min(_values(samples)),
}


def quantiles(share: float, buckets: Vector) -> Vector:
    """`histogram_quantile`, for each set of the other labels."""
    histograms: dict[Labels, list[tuple[float, float]]] = {}
    for name, count in buckets.items():
        if (bound := dict(name).get("le")) is not None:
            of = histograms.setdefault(without(name, NAME, "le"), [])
            of.append((float(bound.replace("+Inf", "inf")), count))
    return {name: quantile(share, sorted(each)) for name, each in histograms.items()}


def quantile(share: float, buckets: Sequence[tuple[float, float]]) -> float:
    """What `share` of the observations were at most, as far as upper bounds and counts tell."""
    total = buckets[-1][1]
    if len(buckets) < 2 or buckets[-1][0] != inf or not total or isnan(total):
        return nan
    rank, lower, below = share * total, 0.0, 0.0
    for bound, count in buckets[:-1]:
        if count >= rank:
            inside = count - below
            return lower + (bound - lower) * ((rank - below) / inside if inside else 0.0)
        lower, below = bound, count
    return lower


AGGREGATES: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "sum": sum,
    "max": max,
    "min": min,
    "avg": lambda numbers: sum(numbers) / len(numbers),
    "count": lambda numbers: float(len(numbers)),
}
