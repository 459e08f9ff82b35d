"""Rules for what a schema says of objects."""

from collections.abc import Sequence
from typing import Any, Final

from services.tool_registry.domain.compatibility import parts as sp
from services.tool_registry.domain.compatibility.parts import Node
from services.tool_registry.domain.compatibility.proof import Case, Gaps, Goal, Proof, Rules
from services.tool_registry.domain.compatibility.scalars import at_most, leaf, unevaluated

_OBJECT: Final = frozenset({"object"})


def properties(proof: Proof, case: Case, goal: Goal, name: str) -> Gaps:
    """Each has to follow from what is known of it."""
    for each, schema in goal.node.members(name).items():
        inner = goal.inside(goal.node.child(schema), name, each)
        yield from proof.gaps(_member(case, each), inner)


def pattern_properties(proof: Proof, case: Case, goal: Goal, name: str) -> Gaps:
    """As `properties`, for every name: which of them match is not looked at."""
    for pattern, schema in goal.node.members(name).items():
        matching = [
            fact.child(fact.members(name)[pattern])
            for fact in case.facts
            if pattern in fact.members(name)
        ]
        for each in _declared(case):
            inner = goal.inside(goal.node.child(schema), "properties", each)
            yield from proof.gaps([*_member(case, each), *matching], inner)
        inner = goal.inside(goal.node.child(schema), name, pattern)
        yield from proof.gaps([*_other(case), *matching], inner)


def additional_properties(proof: Proof, case: Case, goal: Goal, name: str) -> Gaps:
    """Has to follow for all names that are not in `properties`."""
    schema = goal.node.child(goal.node.rules[name])
    if schema.is_free:
        return
    for each in _declared(case):
        if each not in goal.node.members("properties"):
            yield from proof.gaps(_member(case, each), goal.inside(schema, "properties", each))
    known, inner = _other(case), goal.inside(schema, name)
    if (found := proof.gaps(known, inner)) and not _by_pattern(proof, case, known, inner, goal):
        yield from found


def _by_pattern(proof: Proof, case: Case, known: Sequence[Node], inner: Goal, goal: Goal) -> bool:
    """Whether it follows for names that match a pattern of a fact, and for those that do not."""
    excused = goal.node.members("patternProperties")
    for fact in case.facts:
        if patterns := fact.members("patternProperties"):
            rest = fact.rules.get("additionalProperties", True)
            ways = [rest, *(part for name, part in patterns.items() if name not in excused)]
            if all(proof.follows([*known, fact.child(way)], inner) for way in ways):
                return True
    return False


def property_names(proof: Proof, case: Case, goal: Goal, name: str) -> Gaps:
    """Has to follow from what is known of names, or for each name that there may be."""
    inner = goal.inside(goal.node.child(goal.node.rules[name]), name)
    known = [fact.child(fact.rules[name]) for fact in case.facts if name in fact.rules]
    if not (found := proof.gaps(known, inner)):
        return
    for fact in case.facts:
        is_closed = fact.rules.get("additionalProperties") is False
        if is_closed and not fact.members("patternProperties"):
            names = [Node({"const": each}, None) for each in fact.members("properties")]
            if all(proof.follows([each], inner) for each in names):
                return
    yield from found


def required(proof: Proof, case: Case, goal: Goal, name: str) -> Gaps:
    """Facts have to require all of these."""
    known = _required(case)
    for each in goal.node.parts(name):
        if each not in known:
            yield goal.gap(name, f"required {each}")


def dependent_required(proof: Proof, case: Case, goal: Goal, name: str) -> Gaps:
    """Facts have to require these, with the name they depend on, or refuse that one."""
    known = _required(case)
    for trigger, wanted in goal.node.members(name).items():
        along = set(known)
        for fact in case.facts:
            along.update(_listed(fact.members(name).get(trigger)))
        refused = goal.inside(Node(False, None), name, trigger)
        if not along.issuperset(_listed(wanted)) and proof.gaps(_member(case, trigger), refused):
            yield goal.gap(name, f"{name} of {trigger}")


def _min_properties(case: Case, least: Any) -> bool:
    said = max(sp.numbers(case.facts, "minProperties"), default=0)
    return bool(max(said, len(_required(case))) >= least)


def _member(case: Case, name: str) -> list[Node]:
    """What is known of a property. Patterns are not matched: that only leaves facts out."""
    known = []
    for fact in case.facts:
        if name in (declared := fact.members("properties")):
            known.append(fact.child(declared[name]))
        elif "additionalProperties" in fact.rules and not fact.members("patternProperties"):
            known.append(fact.child(fact.rules["additionalProperties"]))
    return known


def _other(case: Case) -> list[Node]:
    """What is known of properties that no fact names."""
    return [
        fact.child(fact.rules["additionalProperties"])
        for fact in case.facts
        if "additionalProperties" in fact.rules and not fact.members("patternProperties")
    ]


def _declared(case: Case) -> Sequence[str]:
    return list(dict.fromkeys(name for fact in case.facts for name in fact.members("properties")))


def _required(case: Case) -> set[object]:
    return {name for fact in case.facts for name in fact.parts("required")}


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


RULES: Final[Rules] = {
    "properties": (_OBJECT, properties),
    "patternProperties": (_OBJECT, pattern_properties),
    "additionalProperties": (_OBJECT, additional_properties),
    "propertyNames": (_OBJECT, property_names),
    "required": (_OBJECT, required),
    "dependentRequired": (_OBJECT, dependent_required),
    "minProperties": (_OBJECT, leaf(_min_properties)),
    "maxProperties": (_OBJECT, at_most("maxProperties")),
    "unevaluatedProperties": (_OBJECT, unevaluated),
}
