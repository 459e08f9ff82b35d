"""Rules as Prometheus goes through them: each minute those that record, then those that alert."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import promql_parser

from tests.promql.evaluation import At
from tests.promql.functions import told_apart, without
from tests.promql.series import NAME, Labels, Storage, Vector

EVERY: Final = 60.0
KNOWN: Final = {"alert", "record", "expr", "for", "labels", "annotations"}
"""What a rule may have; of these only annotations change nothing."""
Given = Mapping[str, Any]


class Rule:
    """A rule, as it is in a file, over time.

    Raises:
        NotImplementedError: it has something that is not known here.
    """

    def __init__(self, given: Given) -> None:
        if unknown := given.keys() - KNOWN:
            raise NotImplementedError(f"{sorted(unknown)} of a rule")
        self._expression = promql_parser.parse(given["expr"])
        self._patience = seconds(given.get("for", "0s"))
        self._given = given
        self._since: dict[Labels, float] = {}
        self._told: Vector = {}

    def run(self, storage: Storage, time: float) -> None:
        """Record what there is, and the end of what there was."""
        found = At(storage, time).vector(self._expression)
        told = self._recorded(found) if "record" in self._given else self._firing(found, time)
        for series in self._told.keys() - told.keys():
            storage.add(series, time, None)
        for series, value in told.items():
            storage.add(series, time, value)
        self._told = told

    def _recorded(self, found: Vector) -> Vector:
        labels = {**self._given.get("labels", {}), NAME: self._given["record"]}
        return told_apart((_labelled(series, labels), value) for series, value in found.items())

    def _firing(self, found: Vector, time: float) -> Vector:
        """The series of `ALERTS`: of what was found for so long that it fires."""
        active = {without(series, NAME) for series in found}
        self._since = {series: self._since.get(series, time) for series in active}
        labels = dict(self._given.get("labels", {}))
        labels |= {NAME: "ALERTS", "alertname": self._given["alert"], "alertstate": "firing"}
        return told_apart(
            (_labelled(series, labels), 1.0)
            for series, since in self._since.items()
            if time - since >= self._patience
        )


def _labelled(series: Labels, labels: Mapping[str, str]) -> Labels:
    return frozenset({**dict(series), **labels}.items())


def seconds(duration: str) -> float:
    """A duration in seconds."""
    if duration.rstrip("smh") == "0":  # Which the parser takes for none.
        return 0.0
    return float(promql_parser.parse_duration(duration).total_seconds())


def ran(rules: Sequence[Given], storage: Storage, until: float) -> Storage:
    """The storage with what rules record, and with `ALERTS`, each minute until a time."""
    running = [Rule(given) for given in rules]
    for minute in range(int(until / EVERY) + 1):
        for rule in running:
            rule.run(storage, minute * EVERY)
    return storage
