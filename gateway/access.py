"""A log line for a request that was answered: its route, its status and how long it took.

At `info` there are so many a second at most, and each says how many were left out before it: lines
must not cost what they tell of. At `debug` there is one for each.
"""

import logging
from collections.abc import Callable
from time import monotonic
from typing import Final

from gateway.outcomes import Outcome

log = logging.getLogger(__name__)

A_SECOND: Final = 10


class Access:
    """The lines of one edge."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._second = 0.0
        self._told = 0
        self._left_out = 0

    def answered(self, outcome: Outcome, took: float) -> None:
        """Tell it, if it is to be told; `took` in seconds."""
        if not log.isEnabledFor(logging.INFO):
            return
        if not (log.isEnabledFor(logging.DEBUG) or self._has_room()):
            self._left_out += 1
            return
        facts: dict[str, object] = {**outcome._asdict(), "ms": round(took * 1000, 2)}
        if self._left_out:
            facts["left_out"] = self._left_out
            self._left_out = 0
        log.info("answered", extra=facts)

    def _has_room(self) -> bool:
        now = self._now()
        if now - self._second >= 1.0:
            self._second, self._told = now, 0
        self._told += 1
        return self._told <= A_SECOND
