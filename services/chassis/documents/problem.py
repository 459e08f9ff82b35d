"""What is wrong with a document. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a document."""

    field: str
    """Where: a path such as `state_machine.review.transitions[1]`; empty for the whole."""
    message: str
    suggested_fix: str = ""
    line: int = 0
    """Of the text, from 1; 0 where there is no text."""
    column: int = 0
    is_warning: bool = False


Problems = Sequence[Problem]
