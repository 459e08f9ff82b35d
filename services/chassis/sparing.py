"""Floods of lines: whoever sends a thousand bad requests a second is not to fill logs with them."""

import logging
from collections.abc import Callable
from time import monotonic
from typing import Final

A_SECOND: Final = 50
_MOST: Final = 1024

_Sentence = tuple[str, int, str]
"""A logger, a level, and what is said."""


class Sparing(logging.Filter):
    """Lets so many lines of one sentence and level through a second; the next one says in
    `left_out` how many there were besides. A logger that may debug says all."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._now = now
        self._second = 0.0
        self._told: dict[_Sentence, int] = {}
        self._left_out: dict[_Sentence, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is written."""
        if logging.getLogger(record.name).isEnabledFor(logging.DEBUG):
            return True
        if (now := self._now()) - self._second >= 1.0:
            self._second = now
            self._told.clear()
        sentence = record.name, record.levelno, str(record.msg).partition(":")[0]
        if (told := self._told.get(sentence, 0)) >= A_SECOND or len(self._told) >= _MOST:
            return self._leave_out(sentence)
        self._told[sentence] = told + 1
        if left_out := self._left_out.pop(sentence, 0):
            record.left_out = left_out
        return True

    def _leave_out(self, sentence: _Sentence) -> bool:
        if sentence in self._left_out or len(self._left_out) < _MOST:
            self._left_out[sentence] = self._left_out.get(sentence, 0) + 1
        return False
