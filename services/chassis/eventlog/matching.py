"""Which records a query is for, in plain Python."""

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from services.chassis.eventlog.port import Attribute, Compare, Condition, Every, Not, Record

_OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def matches(condition: Condition | None, attributes: Mapping[str, Attribute]) -> bool:
    """Whether it holds. Raises `KeyError` for an operator that is none."""
    if condition is None:
        return True
    if isinstance(condition, Compare):
        return _compares(condition, attributes)
    if isinstance(condition, Not):
        return not matches(condition.condition, attributes)
    holds = all if isinstance(condition, Every) else any
    return holds(matches(each, attributes) for each in condition.conditions)


def within(records: Iterable[Record], max_bytes: int | None) -> Iterator[Record]:
    """Records up to the one whose body takes them over so many bytes; no more are asked for."""
    left = math.inf if max_bytes is None else max_bytes
    for record in records:
        yield record
        left -= len(record.body)
        if left < 0:
            return


def _compares(compare: Compare, attributes: Mapping[str, Attribute]) -> bool:
    if compare.operator == "!=":
        return not _compares(Compare(compare.attribute, "=", compare.value), attributes)
    held = attributes.get(compare.attribute)
    if _kind(held) is not _kind(compare.value):
        return False
    return _OPERATORS[compare.operator](held, compare.value)


def _kind(value: Attribute | None) -> type | None:
    if isinstance(value, bool):
        return bool
    return float if isinstance(value, int | float) else type(value) if value is not None else None
