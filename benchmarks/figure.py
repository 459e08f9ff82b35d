"""One figure of the table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from benchmarks.load.job import JSON


@dataclass(frozen=True, slots=True)
class Bar:
    """What product.md asks for."""

    limit: float
    is_least: bool = False
    """Whether more is better."""
    aim: float | None = None

    def is_met(self, value: float) -> bool:
        """Whether the value is good enough."""
        return value >= self.limit if self.is_least else value <= self.limit

    def __str__(self) -> str:
        sign = "≥" if self.is_least else "≤"
        return f"{sign} {self.limit:g}" + (f" (aim {self.aim:g})" if self.aim is not None else "")


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured, once a run."""

    row: str
    name: str
    unit: str
    values: Sequence[float]
    bar: Bar | None = None
    cpu: Mapping[str, float] = field(default_factory=dict)
    """By process, in `cpu_unit` for each request: medians of the runs."""
    cpu_unit: str = "ms"
    errors: Mapping[str, int] = field(default_factory=dict)
    """Of all runs together."""
    note: str = ""
    runs: Sequence[JSON] = ()
    """Everything the runs reported."""
    is_sound: bool = True
    """Whether all of its row was as it should be. What was not answered took no time."""

    @property
    def value(self) -> float:
        """The median."""
        return float(median(self.values)) if self.values else float("nan")

    @property
    def is_met(self) -> bool | None:
        """Whether the bar is met, without errors; None without a bar."""
        if self.bar is None:
            return None
        return self.is_sound and not self.errors and self.bar.is_met(self.value)

    def document(self) -> dict[str, JSON]:
        """As JSON."""
        bar = self.bar
        return {
            "row": self.row,
            "name": self.name,
            "unit": self.unit,
            "median": self.value,
            "values": list(self.values),
            "bar": None if bar is None else {"limit": bar.limit, "aim": bar.aim, "text": str(bar)},
            "met": self.is_met,
            "cpu": dict(self.cpu),
            "cpu_unit": self.cpu_unit,
            "errors": dict(self.errors),
            "note": self.note,
            "runs": list(self.runs),
        }


def judged(figures: Sequence[Figure]) -> list[Figure]:
    """The figures, of which none counts as good in a row that has errors."""
    unsound = {each.row for each in figures if each.errors}
    return [replace(each, is_sound=each.row not in unsound) for each in figures]
