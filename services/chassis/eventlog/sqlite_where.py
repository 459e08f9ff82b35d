"""A condition on records as SQL for SQLite. Attributes and values are always parameters."""

from typing import Final

from services.chassis.eventlog.port import Attribute, Compare, Condition, Every, Not

_TYPES: Final = {
    str: "('text')",
    bool: "('true', 'false')",
    int: "('integer', 'real')",
    float: "('integer', 'real')",
}
# What people write, and what SQL is told; `!=` is the opposite of `=`.
_OPERATORS: Final = {"=": "=", "!=": "=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


def where(condition: Condition | None) -> tuple[str, list[Attribute]]:
    """The expression and its parameters. Raises `KeyError` for an operator that is none."""
    if condition is None:
        return "true", []
    if isinstance(condition, Compare):
        return _compare(condition)
    if isinstance(condition, Not):
        inner, values = where(condition.condition)
        return f"not ({inner})", values
    joint = " and " if isinstance(condition, Every) else " or "
    parts = [where(each) for each in condition.conditions]
    values = [value for _, each in parts for value in each]
    nothing = "true" if isinstance(condition, Every) else "false"
    return f"({joint.join(text for text, _ in parts) or nothing})", values


def _compare(compare: Compare) -> tuple[str, list[Attribute]]:
    path, kinds = f'$."{compare.attribute}"', _TYPES[type(compare.value)]
    operator = _OPERATORS[compare.operator]
    fits = (
        f"(coalesce(json_type(attributes, ?), '') in {kinds}"
        f" and json_extract(attributes, ?) {operator} ?)"
    )
    return f"(not {fits})" if compare.operator == "!=" else fits, [path, path, compare.value]
