"""Whether a changed schema breaks callers. Pure, and careful: what cannot be shown to be harmless
is breaking.

An input schema has to accept all that it accepted; an output schema has to promise no less. Both
ask whether every value that one schema accepts is accepted by another.
"""

from collections.abc import Mapping, Sequence

from services.tool_registry.domain.compatibility import arrays, objects, scalars
from services.tool_registry.domain.compatibility.parts import Node, TooMuch
from services.tool_registry.domain.compatibility.proof import Break, Goal, Proof

__all__ = ["Break", "breaks_of_input", "breaks_of_output"]


def breaks_of_input(old: Mapping[str, object], new: Mapping[str, object]) -> Sequence[Break]:
    """Where the new schema refuses what the old one accepted, or may."""
    return _uncovered(old, new)


def breaks_of_output(old: Mapping[str, object], new: Mapping[str, object]) -> Sequence[Break]:
    """Where the new schema allows what the old one did not, or may."""
    return _uncovered(new, old)


def _uncovered(narrow: Mapping[str, object], wide: Mapping[str, object]) -> Sequence[Break]:
    proof = Proof({**scalars.RULES, **objects.RULES, **arrays.RULES})
    try:
        return proof.gaps([Node(narrow, narrow)], Goal(Node(wide, wide)))
    except TooMuch:
        return [Break("", "is too complex to be compared")]
