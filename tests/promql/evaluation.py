"""An expression of PromQL at a time, over the tree of its parser."""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

import promql_parser as parser

from tests.promql.functions import AGGREGATES, OVER_TIME, quantiles, told_apart, without
from tests.promql.series import NAME, Labels, Matches, Storage, Vector

Value: TypeAlias = "Vector | float"
Known = TypeVar("Known")

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
_GROUPED: Final = (parser.VectorMatchCardinality.ManyToOne, parser.VectorMatchCardinality.OneToMany)


def evaluated(expression: str, storage: Storage, time: float) -> Value:
    """What an expression is at a time.

    Raises:
        NotImplementedError: it has something that is not known here.
        ValueError: series cannot be told apart, where Prometheus has to.
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
        start, compute = self.time - node.range.total_seconds(), OVER_TIME[name]
        ranges = self.storage.ranges(_matching(node.vector_selector), start, self.time)
        made = {series: compute(each, start, self.time) for series, each in ranges.items()}
        return told_apart(
            (without(series, NAME), value) for series, value in made.items() if value is not None
        )

    def _AggregateExpr(self, node: Any) -> Value:  # noqa: N802
        groups: dict[Labels, list[float]] = {}
        for series, value in self.vector(node.expr).items():
            groups.setdefault(_grouped(node.modifier, series), []).append(value)
        aggregate = _known(AGGREGATES, str(node.op))
        return {group: float(aggregate(numbers)) for group, numbers in groups.items()}

    def _BinaryExpr(self, node: Any) -> Value:  # noqa: N802
        _refuse_unknown(node.modifier)
        op, left, right = str(node.op), self.value(node.lhs), self.value(node.rhs)
        if isinstance(left, dict) and isinstance(right, dict):
            return _joined(op, left, right, node.modifier.matching if node.modifier else None)
        if isinstance(left, dict) and isinstance(right, float):
            return _scaled(op, left, right)
        if isinstance(left, float) and isinstance(right, float):
            return _known(_ARITHMETIC, op)(left, right)
        raise NotImplementedError(f"{op} of a number and series")


def _known(table: Mapping[str, Known], name: str) -> Known:
    if (found := table.get(name)) is None:
        raise NotImplementedError(name)
    return found


def _refuse_unknown(modifier: Any) -> None:
    """Refuse what an operator does otherwise than to match series one by one."""
    if modifier is None:
        return
    filled = modifier.fill_values
    if filled is not None and (filled.lhs, filled.rhs) != (None, None):
        raise NotImplementedError("fill")
    if modifier.return_bool:
        raise NotImplementedError("bool")
    if modifier.card in _GROUPED:
        raise NotImplementedError("group_left and group_right")


def _scaled(op: str, left: Vector, right: float) -> Vector:
    if (compare := _COMPARISONS.get(op)) is not None:
        return {series: value for series, value in left.items() if compare(value, right)}
    compute = _known(_ARITHMETIC, op)
    return told_apart(
        (without(series, NAME), compute(value, right)) for series, value in left.items()
    )


def _joined(op: str, left: Vector, right: Vector, matching: Any) -> Vector:
    signature = partial(_signature, matching)
    here, there = set(map(signature, left)), set(map(signature, right))
    if op == "and":
        return {series: value for series, value in left.items() if signature(series) in there}
    if op == "unless":
        return {series: value for series, value in left.items() if signature(series) not in there}
    if op == "or":
        return left | {
            series: value for series, value in right.items() if signature(series) not in here
        }
    return _one_by_one(op, left, right, matching)


def _one_by_one(op: str, left: Vector, right: Vector, matching: Any) -> Vector:
    signature = partial(_signature, matching)
    there = told_apart((signature(series), value) for series, value in right.items())
    shared = {series: value for series, value in left.items() if signature(series) in there}
    told_apart((signature(series), value) for series, value in shared.items())
    pairs = ((series, value, there[signature(series)]) for series, value in shared.items())
    if (compare := _COMPARISONS.get(op)) is not None:
        return {
            _compared(matching, series): one for series, one, other in pairs if compare(one, other)
        }
    compute = _known(_ARITHMETIC, op)
    return {signature(series): compute(one, other) for series, one, other in pairs}


def _compared(matching: Any, series: Labels) -> Labels:
    """What is left of the labels of one that was compared."""
    if matching is None:
        return series
    if matching.type == parser.LabelModifierType.Include:
        return _only(series, matching.labels)
    return without(series, *matching.labels)


def _signature(matching: Any, series: Labels) -> Labels:
    """What has to be alike on both sides, and is left where they are computed with."""
    if matching is not None and matching.type == parser.LabelModifierType.Include:
        return _only(series, matching.labels)
    return without(_compared(matching, series), NAME)


def _grouped(modifier: Any, series: Labels) -> Labels:
    if modifier is None:
        return frozenset()
    if modifier.type == parser.AggModifierType.By:
        return _only(series, modifier.labels)
    return without(series, NAME, *modifier.labels)


def _only(series: Labels, kept: list[str]) -> Labels:
    return frozenset((label, value) for label, value in series if label in kept)


def _matching(node: Any) -> Matches:
    if node.offset is not None or node.at is not None or node.matchers.or_matchers:
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
