"""Rules for what a schema says of a value as a whole, and of numbers and texts."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from services.chassis.errors import InvalidArgument
from services.chassis.schema import Schema
from services.tool_registry.domain.compatibility import parts as sp
from services.tool_registry.domain.compatibility.parts import EVERY_TYPE, NUMERIC, Node
from services.tool_registry.domain.compatibility.proof import (
    MAX_CASES,
    Case,
    Gaps,
    Goal,
    Proof,
    Rule,
    Rules,
)

_SHOWN: Final = 64  # Characters of what a keyword says.


def reference(proof: Proof, case: Case, goal: Goal, name: str) -> Gaps:
    """What is referred to has to follow."""
    target = goal.node.target()
    if target is None:
        yield goal.gap(name, "refers to what cannot be told")
    else:
        yield from proof.gaps(case.facts, goal.at(target))


def all_of(proof: Proof, case: Case, goal: Goal, name: str) -> Gaps:
    """Each has to follow."""
    for index, part in enumerate(goal.node.parts(name)):
        yield from proof.gaps(case.facts, goal.at(goal.node.child(part), name, index))


def any_of(proof: Proof, case: Case, goal: Goal, name: str) -> Gaps:
    """One has to follow, or one for each value or type that there may be."""
    wanted = [goal.at(goal.node.child(part)) for part in goal.node.parts(name)]

    def is_met(*more: Node) -> bool:
        return any(proof.follows([*case.facts, *more], each) for each in wanted)

    pieces = _pieces(case)
    if not is_met() and not (pieces and all(is_met(piece) for piece in pieces)):
        yield goal.gap(name)


def _pieces(case: Case) -> Sequence[Node]:
    """Facts of which one holds: values, if they are a few, else types. None if that is too many."""
    if case.values is not None:
        few = case.values if len(case.values) <= MAX_CASES else ()
        return [Node({"const": value}, None) for value in few]
    names = set(case.types)
    if "fraction" in names:
        names = (names - NUMERIC) | {"number"}
    return [Node({"type": name}, None) for name in sorted(names)]


def negation(proof: Proof, case: Case, goal: Goal, name: str) -> Gaps:
    """What is refused has to be of other types, or among what facts refuse."""
    refused = goal.node.child(goal.node.rules[name])
    found = sp.expanded([refused], proof.budget)
    if found is None or not sp.types_of(found) & case.types:
        return
    for fact in case.facts:
        if name in fact.rules:
            wider = goal.at(fact.child(fact.rules[name]), name)
            if proof.follows([refused], wider):
                return
    yield goal.gap(name)


def types(proof: Proof, case: Case, goal: Goal, name: str) -> Gaps:
    """No other type may be left."""
    said = goal.node.rules[name]
    if not case.types <= sp.types_named(said):
        shown = " or ".join(map(str, said)) if isinstance(said, list | tuple) else said
        yield goal.gap(name, f"type {shown}")


def enumeration(proof: Proof, case: Case, goal: Goal, name: str) -> Gaps:
    """No other value may be left."""
    said = goal.node.rules[name]
    listed = said if name == "enum" and isinstance(said, list | tuple) else [said]
    allowed = set(map(sp.key, listed))
    if case.values is None or any(sp.key(value) not in allowed for value in case.values):
        yield goal.gap(name, _shown(name, listed))


def condition(proof: Proof, case: Case, goal: Goal, name: str) -> Gaps:
    """Says nothing unless something depends on it."""
    if "then" in goal.node.rules or "else" in goal.node.rules:
        yield goal.gap(name)


def nothing(proof: Proof, case: Case, goal: Goal, name: str) -> Gaps:
    """Says nothing without another keyword, whose rule looks at it."""
    yield from ()


def unevaluated(proof: Proof, case: Case, goal: Goal, name: str) -> Gaps:
    """Depends on all that is beside it: follows only where it says nothing."""
    if not goal.node.child(goal.node.rules[name]).is_free:
        yield goal.gap(name)


def leaf(implied: Callable[[Case, Any], bool]) -> Rule:
    """For a keyword that has no schemas: facts imply it, or each possible value satisfies it."""

    def rule(proof: Proof, case: Case, goal: Goal, name: str) -> Gaps:
        said = goal.node.rules[name]
        if not implied(case, said) and not _satisfied(case.values, name, said):
            yield goal.gap(name, _shown(name, said))

    return rule


def _shown(name: str, said: object) -> str:
    text = str(said)
    return f"{name} {text}" if len(text) <= _SHOWN else name


def _satisfied(values: Sequence[object] | None, name: str, said: object) -> bool:
    if values is None or len(values) > MAX_CASES:
        return False
    try:
        schema = Schema({name: said}, field="value")
    except InvalidArgument:
        return False
    return all(map(schema.is_valid, values))


def at_least(name: str) -> Rule:
    """For a lower bound of a length or a number of things."""
    return leaf(lambda case, least: least <= max(sp.numbers(case.facts, name), default=0))


def at_most(name: str) -> Rule:
    """For an upper bound."""
    return leaf(lambda case, most: any(each <= most for each in sp.numbers(case.facts, name)))


def _minimum(case: Case, least: Any) -> bool:
    bounds = (*sp.numbers(case.facts, "minimum"), *sp.numbers(case.facts, "exclusiveMinimum"))
    return any(each >= least for each in bounds)


def _above(case: Case, least: Any) -> bool:
    above = any(each >= least for each in sp.numbers(case.facts, "exclusiveMinimum"))
    return above or any(each > least for each in sp.numbers(case.facts, "minimum"))


def _maximum(case: Case, most: Any) -> bool:
    bounds = (*sp.numbers(case.facts, "maximum"), *sp.numbers(case.facts, "exclusiveMaximum"))
    return any(each <= most for each in bounds)


def _below(case: Case, most: Any) -> bool:
    below = any(each <= most for each in sp.numbers(case.facts, "exclusiveMaximum"))
    return below or any(each < most for each in sp.numbers(case.facts, "maximum"))


def _multiple(case: Case, of: Any) -> bool:
    if of == 1 and "fraction" not in case.types:
        return True
    return any(
        float(each).is_integer() and float(of).is_integer() and int(each) % int(of) == 0
        for each in sp.numbers(case.facts, "multipleOf")
    )


_same = leaf(lambda case, said: False)

RULES: Final[Rules] = {
    "$ref": (EVERY_TYPE, reference),
    "allOf": (EVERY_TYPE, all_of),
    "anyOf": (EVERY_TYPE, any_of),
    "not": (EVERY_TYPE, negation),
    "type": (EVERY_TYPE, types),
    "enum": (EVERY_TYPE, enumeration),
    "const": (EVERY_TYPE, enumeration),
    "if": (EVERY_TYPE, condition),
    "then": (EVERY_TYPE, nothing),
    "else": (EVERY_TYPE, nothing),
    "minimum": (NUMERIC, leaf(_minimum)),
    "exclusiveMinimum": (NUMERIC, leaf(_above)),
    "maximum": (NUMERIC, leaf(_maximum)),
    "exclusiveMaximum": (NUMERIC, leaf(_below)),
    "multipleOf": (NUMERIC, leaf(_multiple)),
    "minLength": (frozenset({"string"}), at_least("minLength")),
    "maxLength": (frozenset({"string"}), at_most("maxLength")),
    "pattern": (frozenset({"string"}), _same),
    "format": (frozenset({"string"}), _same),
}
