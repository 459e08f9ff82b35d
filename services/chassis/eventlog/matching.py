"""Whether a record's attributes fulfil a condition, in plain Python."""

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from services.chassis.eventlog.port import Attribute, Compare, Condition, Every, Not

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
