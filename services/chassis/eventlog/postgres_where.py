"""A condition on records as SQL for PostgreSQL. Attributes and values are always parameters."""

from typing import Final

from services.chassis.eventlog.port import Attribute, Compare, Condition, Every, Not

# What people write, and what SQL is told; `!=` is the opposite of `=`.
_OPERATORS: Final = {"=": "=", "!=": "=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_CASTS: Final = {
    "string": '(attributes ->> {name}) collate "C" {operator} {value}::text',
    "number": "(attributes ->> {name})::float8 {operator} {value}::float8",
    "boolean": "(attributes ->> {name})::boolean {operator} {value}::boolean",
}


class Where:
    """Collects parameters while it writes; `values` start as number `first` of the statement."""

    def __init__(self, first: int) -> None:
        self._first = first
        self.values: list[Attribute] = []

    def text(self, condition: Condition | None) -> str:
        """The expression. Raises `KeyError` for an operator that is none."""
        if condition is None:
            return "true"
        if isinstance(condition, Compare):
            return self._compare(condition)
        if isinstance(condition, Not):
            return f"not ({self.text(condition.condition)})"
        is_every = isinstance(condition, Every)
        parts = [self.text(each) for each in condition.conditions]
        return f"({(' and ' if is_every else ' or ').join(parts) or str(is_every).lower()})"

    def _compare(self, compare: Compare) -> str:
        kind = _kind(compare.value)
        name, value = f"{self._add(compare.attribute)}::text", self._add(compare.value)
        operator = _OPERATORS[compare.operator]
        holds = _CASTS[kind].format(name=name, operator=operator, value=value)
        fits = (
            f"(case when jsonb_typeof(attributes -> {name}) = '{kind}' then {holds} else false end)"
        )
        return f"(not {fits})" if compare.operator == "!=" else fits

    def _add(self, value: Attribute) -> str:
        self.values.append(value)
        return f"${self._first + len(self.values) - 1}"


def _kind(value: Attribute) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "number"
