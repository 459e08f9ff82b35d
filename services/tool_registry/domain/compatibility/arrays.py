"""Rules for what a schema says of arrays."""

import math
from typing import Any, Final

from services.tool_registry.domain.compatibility import parts as sp
from services.tool_registry.domain.compatibility.parts import Node
from services.tool_registry.domain.compatibility.proof import Case, Gaps, Goal, Proof, Rules
from services.tool_registry.domain.compatibility.scalars import (
    at_least,
    at_most,
    leaf,
    nothing,
    unevaluated,
)

_ARRAY: Final = frozenset({"array"})


def prefix_items(proof: Proof, case: Case, goal: Goal, name: str) -> Gaps:
    """Each has to follow from what is known of the item at its place."""
    most = _most(case)
    for index, schema in enumerate(goal.node.parts(name)):
        if index < most:
            inner = goal.inside(goal.node.child(schema), name, index)
            yield from proof.gaps(_item(case, index), inner)


def items(proof: Proof, case: Case, goal: Goal, name: str) -> Gaps:
    """Has to follow for each item after those that `prefixItems` has."""
    inner = goal.inside(goal.node.child(goal.node.rules[name]), name)
    most, first = _most(case), len(goal.node.parts("prefixItems"))
    last = max((len(fact.parts("prefixItems")) for fact in case.facts), default=0)
    for index in range(first, last):
        if index < most:
            yield from proof.gaps(_item(case, index), inner)
    if max(first, last) < most:
        yield from proof.gaps(_item(case, max(first, last)), inner)


def contains(proof: Proof, case: Case, goal: Goal, name: str) -> Gaps:
    """Follows only where a fact says the same."""
    yield goal.gap(name)


def _unique(case: Case, said: Any) -> bool:
    is_unique = any(fact.rules.get("uniqueItems") is True for fact in case.facts)
    return said is False or is_unique or _most(case) <= 1


def _item(case: Case, index: int) -> list[Node]:
    """What is known of the item at a place."""
    known = []
    for fact in case.facts:
        prefix = fact.parts("prefixItems")
        if index < len(prefix):
            known.append(fact.child(prefix[index]))
        elif "items" in fact.rules:
            known.append(fact.child(fact.rules["items"]))
    return known


def _most(case: Case) -> float:
    return min(sp.numbers(case.facts, "maxItems"), default=math.inf)


RULES: Final[Rules] = {
    "prefixItems": (_ARRAY, prefix_items),
    "items": (_ARRAY, items),
    "contains": (_ARRAY, contains),
    "minContains": (_ARRAY, nothing),
    "maxContains": (_ARRAY, nothing),
    "minItems": (_ARRAY, at_least("minItems")),
    "maxItems": (_ARRAY, at_most("maxItems")),
    "uniqueItems": (_ARRAY, leaf(_unique)),
    "unevaluatedItems": (_ARRAY, unevaluated),
}
