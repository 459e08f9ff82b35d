"""What a process says of itself to those who measure it: `/metrics`, in Prometheus' text format.

Figures are read when they are asked for, so that counting costs those who work nothing more. A page
is written by a thread, one at a time: a large one takes longer than a caller should wait.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isinf
from operator import itemgetter
from typing import Final

from prometheus_client import generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from services.chassis.histograms import MOST, OTHER, Histogram, Series, Tally

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
OPEN_CONTENT_TYPE: Final = openmetrics.CONTENT_TYPE_LATEST
_OPEN: Final = "application/openmetrics-text"

Read = Callable[[], Mapping[str, float]]
"""The figure by each value of the label; by "" where there is no label."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Something that is measured."""

    name: str
    """As Prometheus names it, with its unit; without `_total`."""
    description: str
    read: Read
    label: str = ""
    """Its values are of a bounded set; else the largest figures are shown, the rest as one."""
    is_counter: bool = False
    """Whether it only grows, while the process lives."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A gauge of several labels, which is read when it is asked for."""

    name: str
    description: str
    labels: tuple[str, ...]
    """The values of each are of a bounded set."""
    read: Callable[[], Mapping[tuple[str, ...], float]]


class Metrics(Collector):
    """The figures of a process."""

    def __init__(self, figures: list[Figure] | None = None) -> None:
        self._figures = figures or []
        self._included: list[Callable[[], Iterable[Metric]]] = []
        self._shown: list[Histogram | Tally | Reading] = []
        self._writing = asyncio.Lock()

    def add(self, *figures: Figure) -> None:
        """Show these as well."""
        self._figures += figures

    def show(self, *shown: Histogram | Tally | Reading) -> None:
        """Show these as well."""
        self._shown += shown

    def include(self, read: Callable[[], Iterable[Metric]]) -> None:
        """Show what this tells as well, such as a library's own."""
        self._included.append(read)

    def collect(self) -> Iterator[Metric]:
        """Read all of them."""
        for figure in self._figures:
            family = CounterMetricFamily if figure.is_counter else GaugeMetricFamily
            labels = [figure.label] if figure.label else []
            metric = family(figure.name, figure.description, labels=labels)
            for value, number in _bounded(figure.read()).items():
                metric.add_metric([value] if labels else [], number)
            yield metric
        yield from map(_family, self._shown)
        for included in self._included:
            yield from included()

    async def written(self, accept: str) -> tuple[str, bytes]:
        """All of them in the format that is asked for, and its media type: read at once, and
        written beside the loop. Examples of traces are in OpenMetrics only."""
        async with self._writing:
            return await asyncio.to_thread(_written, _Read([*self.collect()]), accept)


@dataclass(frozen=True, slots=True)
class _Read(Collector):
    """What was read."""

    metrics: list[Metric]

    def collect(self) -> Iterator[Metric]:
        """All of it."""
        return iter(self.metrics)


def _written(figures: Collector, accept: str) -> tuple[str, bytes]:
    if _OPEN in accept:
        page: bytes = openmetrics.generate_latest(figures)  # type: ignore[no-untyped-call]
        return OPEN_CONTENT_TYPE, page
    return CONTENT_TYPE, generate_latest(figures)


def _bounded(read: Mapping[str, float]) -> Mapping[str, float]:
    """The largest figures; those that are too many are one."""
    if len(read) <= MOST:
        return read
    ordered = sorted(read.items(), key=itemgetter(1), reverse=True)
    return {**dict(ordered[:MOST]), OTHER: sum(number for _, number in ordered[MOST:])}


def _shown(bound: float) -> str:
    return "+Inf" if isinf(bound) else str(bound)


def _family(shown: Histogram | Tally | Reading) -> Metric:
    if isinstance(shown, Histogram):
        histogram = HistogramMetricFamily(shown.name, shown.description, labels=shown.labels)
        for values, series in [*shown.series.items()]:
            histogram.add_metric(values, _buckets(series), series.total)
        return histogram
    family = CounterMetricFamily if isinstance(shown, Tally) else GaugeMetricFamily
    metric = family(shown.name, shown.description, labels=shown.labels)
    for values, number in (shown.counts if isinstance(shown, Tally) else shown.read()).items():
        metric.add_metric(values, number)
    return metric


def _buckets(
    series: Series,
) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    return [
        (_shown(bound), float(count))
        if example is None
        else (
            _shown(bound),
            float(count),
            Exemplar({"trace_id": example[1]}, example[0]),
        )
        for bound, count, example in series.buckets()
    ]
