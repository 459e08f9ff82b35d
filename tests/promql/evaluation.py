"""An expression of PromQL at a time, over the tree of its parser."""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import promql_parser as parser

from tests.promql.functions import AGGREGATES, OVER_TIME, quantiles, without
from tests.promql.series import NAME, Labels, Matches, Storage, Vector

Value: TypeAlias = "Vector | float"

_ARITHMETIC: Final[Mapping[str, Callable[[float, float], float]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda left, right: (
        left / right if right else left * float("inf") if left else float("nan")
    ),
}
_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
_MATCHERS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "MatchOp.Equal": operator.eq,
    "MatchOp.NotEqual": operator.ne,
    "MatchOp.Re": lambda value, wanted: re.fullmatch(wanted, value) is not None,
    "MatchOp.NotRe": lambda value, wanted: re.fullmatch(wanted, value) is None,
}


def evaluated(expression: str, storage: Storage, time: float) -> Value:
    """What an expression is at a time.

    Raises:
        NotImplementedError: it has something that is not known here.
    """
    return At(storage, time).value(parser.parse(expression))


@dataclass(frozen=True)
class At:
    """A moment."""

    storage: Storage
    time: float

    def value(self, node: Any) -> Value:
        """What a part of an expression is then."""
        kind = type(node).__name__
        if (evaluate := getattr(self, f"_{kind}", None)) is None:
            raise NotImplementedError(kind)
        value: Value = evaluate(node)
        return value

    def vector(self, node: Any) -> Vector:
        """The same of a part that has series."""
        if isinstance(value := self.value(node), float):
            raise TypeError(f"{node.prettify()} is a number")
        return value

    def _ParenExpr(self, node: Any) -> Value:  # noqa: N802 - the parser's names
        return self.value(node.expr)

    def _NumberLiteral(self, node: Any) -> Value:  # noqa: N802
        return float(node.val)

    def _VectorSelector(self, node: Any) -> Value:  # noqa: N802
        return self.storage.newest(_matching(node), self.time)

    def _Call(self, node: Any) -> Value:  # noqa: N802
        name, arguments = node.func.name, node.args
        if name in OVER_TIME:
            return self._over_time(name, arguments[0])
        if name == "vector":
            return {frozenset(): float(self.value(arguments[0]))}  # type: ignore[arg-type]
        if name == "absent":
            return {} if self.vector(arguments[0]) else {_said(arguments[0]): 1.0}
        if name == "histogram_quantile":
            return quantiles(float(arguments[0].val), self.vector(arguments[1]))
        raise NotImplementedError(name)

    def _over_time(self, name: str, node: Any) -> Vector:
        start = self.time - node.range.total_seconds()
        ranges = self.storage.ranges(_matching(node.vector_selector), start, self.time)
        made = {
            without(series, NAME): OVER_TIME[name](samples, start, self.time)
            for series, samples in ranges.items()
        }
        return {series: value for series, value in made.items() if value is not None}

    def _AggregateExpr(self, node: Any) -> Value:  # noqa: N802
        groups: dict[Labels, list[float]] = {}
        for series, value in self.vector(node.expr).items():
            groups.setdefault(_grouped(node.modifier, series), []).append(value)
        aggregate = AGGREGATES[str(node.op)]
        return {group: float(aggregate(numbers)) for group, numbers in groups.items()}

    def _BinaryExpr(self, node: Any) -> Value:  # noqa: N802
        op, left, right = str(node.op), self.value(node.lhs), self.value(node.rhs)
        matching = node.modifier.matching if node.modifier else None
        if isinstance(left, dict) and isinstance(right, dict):
            return _joined(op, left, right, lambda series: _signature(matching, series))
        if isinstance(left, dict) and isinstance(right, float):
            return _scaled(op, left, right)
        if isinstance(left, float) and isinstance(right, float):
            return _ARITHMETIC[op](left, right)
        raise NotImplementedError(f"{op} of a number and series")


def _scaled(op: str, left: Vector, right: float) -> Vector:
    if (compare := _COMPARISONS.get(op)) is not None:
        return {series: value for series, value in left.items() if compare(value, right)}
    return {without(series, NAME): _ARITHMETIC[op](value, right) for series, value in left.items()}


def _joined(op: str, left: Vector, right: Vector, signature: Callable[[Labels], Labels]) -> Vector:
    there = {signature(series): value for series, value in right.items()}
    here = {signature(series) for series in left}
    shared = {series: value for series, value in left.items() if signature(series) in there}
    if op == "and":
        return shared
    if op == "unless":
        return {series: value for series, value in left.items() if series not in shared}
    if op == "or":
        return left | {
            series: value for series, value in right.items() if signature(series) not in here
        }
    if (compare := _COMPARISONS.get(op)) is not None:
        return {
            series: value
            for series, value in shared.items()
            if compare(value, there[signature(series)])
        }
    return {
        without(series, NAME): _ARITHMETIC[op](value, there[signature(series)])
        for series, value in shared.items()
    }


def _signature(matching: Any, series: Labels) -> Labels:
    """What has to be alike on both sides."""
    if matching is None:
        return without(series, NAME)
    if matching.type == parser.LabelModifierType.Include:
        return _only(series, matching.labels)
    return without(series, NAME, *matching.labels)


def _grouped(modifier: Any, series: Labels) -> Labels:
    if modifier is None:
        return frozenset()
    if modifier.type == parser.AggModifierType.By:
        return _only(series, modifier.labels)
    return without(series, NAME, *modifier.labels)


def _only(series: Labels, kept: list[str]) -> Labels:
    return frozenset((label, value) for label, value in series if label in kept)


def _matching(node: Any) -> Matches:
    if node.offset is not None or node.at is not None:
        raise NotImplementedError(node.prettify())
    wanted = [(each.name, _MATCHERS[str(each.op)], each.value) for each in node.matchers.matchers]

    def matches(series: Mapping[str, str]) -> bool:
        if node.name is not None and series.get(NAME) != node.name:
            return False
        return all(holds(series.get(name, ""), value) for name, holds, value in wanted)

    return matches


def _said(node: Any) -> Labels:
    """The labels that `absent` knows: those that its selector asks for."""
    if not isinstance(node, parser.VectorSelector):
        return frozenset()
    equal = (each for each in node.matchers.matchers if each.op == parser.MatchOp.Equal)
    return frozenset((each.name, each.value) for each in equal)
