"""Parts of JSON Schemas (2020-12): what they refer to, which mean the same, and what they say of
types and values. What cannot be told is never claimed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from services.tool_registry.domain import pointer

IGNORED: Final = frozenset(
    {
        "title",
        "description",
        "default",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "$comment",
        "$schema",
        "$id",
        "$anchor",
        "$dynamicAnchor",
        "$defs",
        "definitions",
    }
)
"""Say nothing of which values are valid."""
SCHEMAS: Final = frozenset(
    {
        "items",
        "additionalProperties",
        "not",
        "if",
        "then",
        "else",
        "contains",
        "propertyNames",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
LISTS: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
MAPS: Final = frozenset({"properties", "patternProperties", "dependentSchemas"})
SETS: Final = frozenset({"required", "enum", "type"})

EVERY_TYPE: Final = frozenset(
    {"null", "boolean", "object", "array", "string", "integer", "fraction"}
)
NUMERIC: Final = frozenset({"integer", "fraction"})
_FEW: Final[Mapping[frozenset[str], Sequence[object]]] = {
    frozenset({"null"}): (None,),
    frozenset({"boolean"}): (False, True),
    frozenset({"null", "boolean"}): (None, False, True),
}


class TooMuch(Exception):
    """Comparing two schemas would take too long."""


@dataclass(slots=True)
class Budget:
    """How many parts may still be looked at."""

    left: int = 20_000

    def spend(self) -> None:
        """Look at one more. Raises `TooMuch`."""
        self.left -= 1
        if self.left < 0:
            raise TooMuch


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A schema, and the document that its references are looked up in."""

    schema: object
    root: object = field(repr=False)

    @property
    def rules(self) -> Mapping[str, object]:
        """Its keywords; none for `true` and `false`."""
        return self.schema if isinstance(self.schema, Mapping) else {}

    @property
    def id(self) -> tuple[int, int]:
        """Tells it from others while all of them are there."""
        return id(self.schema), id(self.root)

    @property
    def is_free(self) -> bool:
        """Whether it accepts anything."""
        return self.schema is True or (self.schema is not False and not set(self.rules) - IGNORED)

    def child(self, schema: object) -> "Node":
        """A schema of the same document."""
        return Node(schema, self.root)

    def members(self, keyword: str) -> Mapping[str, object]:
        """The schemas that a keyword has by name."""
        found = self.rules.get(keyword)
        return found if isinstance(found, Mapping) else {}

    def parts(self, keyword: str) -> Sequence[object]:
        """The schemas that a keyword lists."""
        found = self.rules.get(keyword)
        return found if isinstance(found, list | tuple) else ()

    def target(self) -> "Node | None":
        """What its `$ref` names; None where that cannot be told."""
        reference = self.rules.get("$ref")
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            return None
        try:
            return self.child(pointer.found(self.root, unquote(reference[1:])))
        except LookupError:
            return None


def key(value: object) -> object:
    """The same for values that are equal in JSON; no boolean is a number."""
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, Mapping):
        return frozenset((name, key(each)) for name, each in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(key, value))
    return value


def expanded(nodes: Iterable[Node], budget: Budget) -> list[Node] | None:
    """All schemas that hold where these do; None if nothing can be valid.

    A reference that cannot be followed is left out: less is known then.
    """
    found: list[Node] = []
    seen: set[tuple[int, int]] = set()
    waiting = list(nodes)[::-1]
    while waiting:
        node = waiting.pop()
        if node.schema is False:
            return None
        if node.is_free or node.id in seen:
            continue
        budget.spend()
        seen.add(node.id)
        found.append(node)
        waiting.extend(node.child(each) for each in reversed(node.parts("allOf")))
        if (target := node.target()) is not None:
            waiting.append(target)
    return found


def same(one: Node, other: Node, budget: Budget, followed: frozenset[str] = frozenset()) -> bool:
    """Whether both surely accept the same values."""
    budget.spend()
    if not isinstance(one.schema, Mapping) or not isinstance(other.schema, Mapping):
        return isinstance(one.schema, bool) and one.schema is other.schema
    names = set(one.rules) - IGNORED
    if names != set(other.rules) - IGNORED or "$dynamicRef" in names:
        return False
    return all(_same_rule(name, one, other, budget, followed) for name in sorted(names))


def _same_rule(name: str, one: Node, other: Node, budget: Budget, followed: frozenset[str]) -> bool:
    mine, its = one.rules[name], other.rules[name]
    if name == "$ref":
        return mine == its and _same_target(str(mine), one, other, budget, followed)
    if name in SCHEMAS:
        return same(one.child(mine), other.child(its), budget, followed)
    if name in LISTS and isinstance(mine, list | tuple) and isinstance(its, list | tuple):
        pairs = zip(mine, its, strict=False)
        return len(mine) == len(its) and all(
            same(one.child(a), other.child(b), budget, followed) for a, b in pairs
        )
    if name in MAPS and isinstance(mine, Mapping) and isinstance(its, Mapping):
        return set(mine) == set(its) and all(
            same(one.child(mine[each]), other.child(its[each]), budget, followed) for each in mine
        )
    if name in SETS and isinstance(mine, list | tuple) and isinstance(its, list | tuple):
        return set(map(key, mine)) == set(map(key, its))
    return key(mine) == key(its)


def _same_target(
    pointer: str, one: Node, other: Node, budget: Budget, followed: frozenset[str]
) -> bool:
    if pointer in followed:  # Whatever differs there is found where it is followed.
        return True
    mine, its = one.target(), other.target()
    if mine is None or its is None:
        return False
    return same(mine, its, budget, followed | {pointer})


def types_named(names: object) -> frozenset[str]:
    """Types as `type` has them, with numbers taken apart."""
    listed = names if isinstance(names, list | tuple) else [names]
    found: set[str] = set()
    for each in listed:
        found |= NUMERIC if each == "number" else {str(each)}
    return frozenset(found)


def types_of(facts: Iterable[Node]) -> frozenset[str]:
    """The types that values have for which all of this holds."""
    found = EVERY_TYPE
    for fact in facts:
        if "type" in fact.rules:
            found &= types_named(fact.rules["type"])
        if (values := _listed(fact)) is not None:
            found &= frozenset(map(_type, values))
    return found


def values_of(facts: Sequence[Node], types: frozenset[str]) -> Sequence[object] | None:
    """The values for which all of this may hold; None if they are not a few."""
    listed = [values for fact in facts if (values := _listed(fact)) is not None]
    if not listed:
        return _FEW.get(types)
    others = [set(map(key, values)) for values in listed[1:]]
    return [
        value
        for value in listed[0]
        if _type(value) in types and all(key(value) in each for each in others)
    ]


def numbers(facts: Iterable[Node], keyword: str) -> Iterator[float]:
    """What these say for a keyword that is a number."""
    for fact in facts:
        found = fact.rules.get(keyword)
        if isinstance(found, int | float) and not isinstance(found, bool):
            yield found


def _listed(fact: Node) -> Sequence[object] | None:
    if "const" in fact.rules:
        return [fact.rules["const"]]
    found = fact.rules.get("enum")
    return found if isinstance(found, list | tuple) else None


def _type(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, Mapping):
        return "object"
    if isinstance(value, list | tuple):
        return "array"
    if isinstance(value, str):
        return "string"
    is_fraction = isinstance(value, float) and not value.is_integer()
    return "fraction" if is_fraction else "integer"
