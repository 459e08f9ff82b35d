"""What is added up over many streams, and what is held of it in advance."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

Amounts = tuple[float, float, float, float]
"""Up to four figures that are added alike; what they are is their user's matter."""

NOTHING: Amounts = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Tally:
    """Figures that add up, such as the tokens of an agent in a day."""

    name: str
    """Such as `agent/reviewer/2026-11-26`. Ranges of names are added up, so what counts days ends
    with the day."""
    amounts: Amounts


@dataclass(frozen=True, slots=True)
class Want:
    """That so much more fits beside a range of tallies and what others hold of the same account."""

    account: str
    """What holds are counted by."""
    first: str
    last: str
    """The range of names, both included."""
    amounts: Amounts
    most: tuple[float | None, float | None, float | None, float | None]
    """What all of it may come to; None where there is no limit."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Amounts kept free until what they are for is tallied; or until the time is over."""

    id: str
    """One that is there by this id gives way."""
    lasts: timedelta
    wants: Sequence[Want]


@dataclass(frozen=True, slots=True)
class Held:
    """What came of a hold: all of its wants fit, or nothing is held."""

    fits: bool
    used: Sequence[Amounts]
    """What is tallied already, beside each want."""
    held: Sequence[Amounts]
    """What others hold of its account, which they may not come to use."""


def plus(one: Amounts, other: Amounts) -> Amounts:
    """Both together."""
    return (one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3])


def is_within(want: Want, used: Amounts, held: Amounts = NOTHING) -> bool:
    """Whether a want fits beside what is used and held."""
    whole = plus(want.amounts, plus(used, held))
    return all(most is None or each <= most for each, most in zip(whole, want.most, strict=True))
