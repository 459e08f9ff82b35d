"""Series over time, in the notation of promtool's unit tests."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

Labels = frozenset[tuple[str, str]]
"""With the metric's name as `__name__`."""
Vector = dict[Labels, float]
Matches = Callable[[Mapping[str, str]], bool]

NAME: Final = "__name__"
LOOK_BACK: Final = 300.0
"""Seconds for which a sample is the newest one."""
_SERIES: Final = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)?\s*(\{(?P<labels>.*)\})?")
_LABEL: Final = re.compile(r'\s*(\w+)\s*=\s*"([^"]*)"\s*,?')
_REPEATED: Final = re.compile(r"(?P<first>-?[\d.]+)((?P<step>[+-][\d.]+))?x(?P<times>\d+)")


def labels(text: str) -> Labels:
    """The labels of `name{label="value"}`."""
    found = _SERIES.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text} is no series")
    pairs = set(_LABEL.findall(found["labels"] or ""))
    return frozenset(pairs | ({(NAME, found["name"])} if found["name"] else set()))


def values(text: str) -> Iterator[tuple[int, float | None]]:
    """`0+5x2 _ 7x1 stale` is 0, 5, 10, nothing, 7, 7, and then its end; with their numbers.
    `_x3` is nothing three times."""
    number = 0
    for part in text.split():
        if part.startswith("_"):
            number += int(part[2:] or 1)
            continue
        for value in _expanded(part):
            yield number, value
            number += 1


def _expanded(part: str) -> Iterator[float | None]:
    if part == "stale":
        yield None
    elif (repeated := _REPEATED.fullmatch(part)) is not None:
        first, step = float(repeated["first"]), float(repeated["step"] or 0)
        yield from (first + step * number for number in range(int(repeated["times"]) + 1))
    else:
        yield float(part)


@dataclass
class Series:
    """One of them: times in seconds, and what it was then; None is its end."""

    times: list[float] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)

    def add(self, time: float, value: float | None) -> None:
        """A later sample."""
        self.times.append(time)
        self.values.append(value)

    def within(self, after: float, until: float) -> list[tuple[float, float | None]]:
        """The samples after a time, until another."""
        first, last = bisect_right(self.times, after), bisect_right(self.times, until)
        return list(zip(self.times[first:last], self.values[first:last], strict=True))


class Storage:
    """All of them."""

    def __init__(self, given: Mapping[str, str] | None = None, *, interval: float = 60.0) -> None:
        self._series: dict[Labels, Series] = {}
        for name, text in (given or {}).items():
            for number, value in values(text):
                self.add(labels(name), number * interval, value)

    def add(self, name: Labels, time: float, value: float | None) -> None:
        """A later sample of a series; None: its end."""
        self._series.setdefault(name, Series()).add(time, value)

    def ranges(
        self, matches: Matches, after: float, until: float
    ) -> dict[Labels, list[tuple[float, float]]]:
        """The samples of each series that matches, and has some."""
        found = {}
        for name, samples in self._found(matches, after, until):
            if kept := [(time, value) for time, value in samples if value is not None]:
                found[name] = kept
        return found

    def newest(self, matches: Matches, time: float) -> Vector:
        """What each series that matches is at a time, if it has not ended."""
        found = self._found(matches, time - LOOK_BACK, time)
        last = {name: samples[-1][1] for name, samples in found if samples}
        return {name: value for name, value in last.items() if value is not None}

    def _found(
        self, matches: Matches, after: float, until: float
    ) -> Iterator[tuple[Labels, list[tuple[float, float | None]]]]:
        for name, series in self._series.items():
            if matches(dict(name)):
                yield name, series.within(after, until)
