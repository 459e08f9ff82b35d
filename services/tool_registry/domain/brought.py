"""What becomes of tools that come together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Brought:
    """What became of tools that were brought."""

    outcomes: Mapping[str, str]
    """By tool: `registered`, `updated`, `unchanged` or `removed`."""
    versions: Mapping[str, str]
    """By tool: its version now."""
    skipped: Mapping[str, str]
    """By tool: why it was left out."""
    others: Sequence[str] = ()
    """Tools that somebody else brought of the same source meanwhile."""
