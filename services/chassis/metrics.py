"""What a process says of itself to those who measure it: `/metrics`, in Prometheus' text format.

Figures are read when they are asked for, so that counting costs those who work nothing more.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

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
    """Its values are of a bounded set."""
    is_counter: bool = False
    """Whether it only grows, while the process lives."""


class Metrics(Collector):
    """The figures of a process."""

    def __init__(self, figures: list[Figure] | None = None) -> None:
        self._figures = figures or []
        self._included: list[Callable[[], Iterable[Metric]]] = []
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def add(self, *figures: Figure) -> None:
        """Show these as well."""
        self._figures += figures

    def include(self, read: Callable[[], Iterable[Metric]]) -> None:
        """Show what this tells as well, such as a library's own."""
        self._included.append(read)

    def describe(self) -> list[Metric]:
        """Nothing: figures are known when they are read."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read all of them."""
        for figure in self._figures:
            family = CounterMetricFamily if figure.is_counter else GaugeMetricFamily
            labels = [figure.label] if figure.label else []
            metric = family(figure.name, figure.description, labels=labels)
            for value, number in figure.read().items():
                metric.add_metric([value] if labels else [], number)
            yield metric
        for included in self._included:
            yield from included()

    def page(self) -> bytes:
        """All of them as text."""
        return generate_latest(self._registry)
