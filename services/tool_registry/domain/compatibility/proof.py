"""Proofs that what one schema accepts another accepts too, keyword by keyword.

Facts are the schemas that hold for a value; a goal is the schema that has to follow. Facts may be
left out, which only makes less follow.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from services.tool_registry.domain.compatibility import parts as sp
from services.tool_registry.domain.compatibility.parts import Budget, Node, TooMuch

MAX_DEPTH: Final = 64
MAX_CASES: Final = 32

# Keywords that mean something together only.
_UNITS: Final = {
    "if": ("if", "then", "else"),
    "contains": ("contains", "minContains", "maxContains"),
    "additionalProperties": ("properties", "patternProperties", "additionalProperties"),
    "items": ("prefixItems", "items"),
}
# These look at what all others have seen, or from where they were reached.
_ENTANGLED: Final = frozenset({"unevaluatedItems", "unevaluatedProperties", "$dynamicRef"})


@dataclass(frozen=True, slots=True)
class Break:
    """A place where a change breaks callers."""

    path: str
    """In the schema that has to accept more, as a JSON Pointer; empty for the whole."""
    what: str
    """What stands there, such as `type string`."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What has to follow, and where it stands."""

    node: Node
    path: str = ""
    level: int = 0
    """How far within the value."""
    depth: int = 0
    """How far within the proof."""
    split: frozenset[int] = frozenset()
    """Alternatives that were taken apart already."""

    def at(self, node: Node, *steps: str | int) -> "Goal":
        """A part of it, for the same value."""
        return Goal(node, self._path(steps), self.level, self.depth + 1, self.split)

    def inside(self, node: Node, *steps: str | int) -> "Goal":
        """A part of it, for a value within."""
        return Goal(node, self._path(steps), self.level + 1, self.depth + 1)

    def apart(self, alternatives: object) -> "Goal":
        """The same, once these alternatives are taken apart."""
        split = self.split | {id(alternatives)}
        return Goal(self.node, self.path, self.level, self.depth + 1, split)

    def gap(self, keyword: str, what: str = "") -> Break:
        """That a keyword does not follow."""
        return Break(self._path((keyword,)), what or keyword)

    def _path(self, steps: Sequence[str | int]) -> str:
        quoted = (str(step).replace("~", "~0").replace("/", "~1") for step in steps)
        return "".join([self.path, *(f"/{step}" for step in quoted)])


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of a value."""

    facts: Sequence[Node]
    types: frozenset[str]
    values: Sequence[object] | None
    """The values that it may have; None if they are not a few."""


Gaps = Iterator[Break]
Rule = Callable[["Proof", Case, Goal, str], Gaps]
Rules = Mapping[str, tuple[frozenset[str], Rule]]
"""For each keyword: the types of values that it says something of, and why it does not follow."""


@dataclass(slots=True)
class Proof:
    """One proof, within a budget."""

    rules: Rules
    budget: Budget = field(default_factory=Budget)
    _open: dict[object, int] = field(default_factory=dict)
    """What is being shown, and how far within the value that began."""

    def gaps(self, known: Sequence[Node], goal: Goal) -> list[Break]:
        """Why the goal does not follow from what is known; empty if it does.

        Raises:
            TooMuch: it would take too long to tell.
        """
        self.budget.spend()
        if goal.depth > MAX_DEPTH:
            raise TooMuch
        facts = sp.expanded(known, self.budget)
        if goal.node.is_free or facts is None:
            return []
        types = sp.types_of(facts)
        case = Case(facts, types, sp.values_of(facts, types))
        if not types or (case.values is not None and not case.values):
            return []  # There is no such value.
        if goal.node.schema is False:
            return [Break(goal.path, "is refused")]
        return self._looped(case, goal)

    def follows(self, known: Sequence[Node], goal: Goal) -> bool:
        """Whether the goal follows from what is known."""
        return not self.gaps(known, goal)

    def _looped(self, case: Case, goal: Goal) -> list[Break]:
        """The same where schemas refer to themselves: what is being shown for any value may be
        taken for granted of what is within it, as values end somewhere."""
        key = (frozenset(fact.id for fact in case.facts), goal.node.id)
        if key in self._open:
            is_within = self._open[key] < goal.level
            return [] if is_within else [Break(goal.path, "refers to itself")]
        self._open[key] = goal.level
        try:
            if any(sp.same(fact, goal.node, self.budget) for fact in case.facts):
                return []
            found = [gap for name in goal.node.rules for gap in self._by_rule(case, goal, name)]
            return [] if found and self._by_cases(case, goal) else found
        finally:
            del self._open[key]

    def _by_rule(self, case: Case, goal: Goal, name: str) -> Gaps:
        if name in sp.IGNORED or name.startswith("x-"):
            return
        types, rule = self.rules.get(name, (sp.EVERY_TYPE, _unknown))
        if case.types & types and not self._is_in_a_fact(case, goal, name):
            yield from rule(self, case, goal, name)

    def _is_in_a_fact(self, case: Case, goal: Goal, name: str) -> bool:
        """Whether a fact says the same with this keyword and those that it depends on."""
        unit = _UNITS.get(name, (name,))
        return name not in _ENTANGLED and any(
            sp.same(_only(fact, unit), _only(goal.node, unit), self.budget)
            for fact in case.facts
            if name in fact.rules
        )

    def _by_cases(self, case: Case, goal: Goal) -> bool:
        """Whether the goal follows from each of some alternatives of which one holds."""
        for fact in case.facts:
            for keyword in ("anyOf", "oneOf"):
                found = fact.parts(keyword)
                if 0 < len(found) <= MAX_CASES and id(found) not in goal.split:
                    apart = goal.apart(found)
                    cases = ([*case.facts, fact.child(part)] for part in found)
                    return all(self.follows(each, apart) for each in cases)
        return False


def _only(node: Node, names: Sequence[str]) -> Node:
    return node.child({name: node.rules[name] for name in names if name in node.rules})


def _unknown(proof: Proof, case: Case, goal: Goal, name: str) -> Gaps:
    """Follows only where a fact says the same."""
    yield goal.gap(name)
