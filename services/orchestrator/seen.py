"""How fast models were lately, as this process saw them, and which of them failed a moment ago."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic
from typing import Final

from services.chassis.lately import Lately

MOST_MODELS: Final = 1024
NEWEST_SHARE: Final = 0.2  # Of what is known of a model: the rest is what was known before.
STALE_SECONDS: Final = 600.0  # Then it is as if it had not been seen.
AILING_SECONDS: Final = 10.0  # After a failure, others come first.
_OFTEN: Final = 1.5  # An answer is seldom longer than so many times the usual one.


Named = tuple[str, str]
"""A tenant, and what it calls a model."""


@dataclass(frozen=True, slots=True)
class _Sight:
    """What turns of a model took, the latest ones counting most."""

    first_seconds: float
    token_seconds: float
    tokens: float
    at: float


class Seen:
    """Of each tenant's models a few numbers: what one has seen tells nobody else, and models of one
    name may be different ones. They are this process's own, and are lost with it."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self.fallbacks: Counter[str] = Counter()
        """How often another model went on, by the reason."""
        self.hedges: Counter[str] = Counter(first=0, second=0)
        """Turns that two calls were made for, by which of them spoke first."""
        self._now = now
        self._sights: Lately[Named, _Sight] = Lately(MOST_MODELS, owner=_tenant)
        self._failed: Lately[Named, float] = Lately(MOST_MODELS, owner=_tenant)

    def spoke(self, model: Named, *, first_seconds: float, seconds: float, tokens: int) -> None:
        """A turn of so many tokens, the first of them after so long."""
        each = (seconds - first_seconds) / max(1, tokens - 1)
        new = _Sight(first_seconds, each, float(tokens), self._now())
        if (old := self._fresh(model)) is not None:
            new = replace(
                new,
                first_seconds=_mixed(old.first_seconds, new.first_seconds),
                token_seconds=_mixed(old.token_seconds, new.token_seconds),
                tokens=_mixed(old.tokens, new.tokens),
            )
        self._sights.put(model, new)
        self._failed.drop(model)

    def failed(self, model: Named) -> None:
        """It could not do what it was asked for."""
        self._failed.put(model, self._now())

    def is_ailing(self, model: Named) -> bool:
        """Whether it failed a moment ago, and did nothing since."""
        at = self._failed.get(model)
        return at is not None and self._now() - at < AILING_SECONDS

    def expected(self, model: Named, max_tokens: int) -> float | None:
        """How many seconds a turn of at most so many tokens takes, about; None if that is not
        known."""
        if (sight := self._fresh(model)) is None:
            return None
        tokens = min(float(max_tokens), math.ceil(sight.tokens * _OFTEN))
        return sight.first_seconds + sight.token_seconds * max(0.0, tokens - 1)

    def _fresh(self, model: Named) -> _Sight | None:
        sight = self._sights.get(model)
        return sight if sight is not None and self._now() - sight.at < STALE_SECONDS else None


def _mixed(old: float, new: float) -> float:
    return old + NEWEST_SHARE * (new - old)


def _tenant(model: Named) -> str:
    return model[0]
