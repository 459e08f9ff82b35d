"""How much loggers say: by settings, and for a while by who operates the process.

Ours say as much as is asked for. Libraries say nothing below a warning: their lines for debugging
show what they carry, and that is prompts, keys and rows.
"""

import asyncio
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from services.chassis.errors import ResourceExhausted, Violation, invalid

log = logging.getLogger(__name__)

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
OURS: Final = ("services", "gateway")
MOST_CHANGES: Final = 64
LONGEST: Final = timedelta(days=1)

_PART: Final = r"[A-Za-z0-9_]{1,64}"
_NAME: Final = re.compile(rf"{_PART}(\.{_PART}){{0,8}}")


def fault(logger: str, level: str) -> Violation | None:
    """Why this logger cannot have this level, if it cannot."""
    if level not in LEVELS:
        known = ", ".join(LEVELS)
        return Violation("level", f"is none of {known}", f"use one of {known}")
    if not _NAME.fullmatch(logger):
        return Violation("logger", "names no logger", "name one, such as services.orchestrator")
    if logger.partition(".")[0] not in OURS and LEVELS[level] < logging.WARNING:
        problem = "is of a library, whose lines below warning show what it carries"
        fix = "use warning or error, or name a logger below services or gateway"
        return Violation("logger", problem, fix)
    return None


def _unknown(logger: str) -> Violation | None:
    """Loggers are never forgotten, so that none may be made by who asks."""
    if logger in logging.root.manager.loggerDict:
        return None
    fix = "name a module that this process has loaded, or a package of it, such as services.chassis"
    return Violation("logger", "is no logger of this process", fix)


def apply(level: str, levels: Mapping[str, str]) -> None:
    """Have all of ours say as much as `level`, and some loggers as much as `levels` has them."""
    logging.getLogger().setLevel(max(LEVELS[level], logging.WARNING))
    for name in OURS:
        logging.getLogger(name).setLevel(LEVELS[level])
    for name, each in levels.items():
        logging.getLogger(name).setLevel(LEVELS[each])


@dataclass(slots=True)
class _Change:
    level: str
    before: int
    timer: asyncio.TimerHandle | None = None


class Levels:
    """What was changed while the process runs; each change can be taken back."""

    def __init__(self) -> None:
        self._changes: dict[str, _Change] = {}

    def shown(self) -> dict[str, object]:
        """What loggers say now, and which of it was changed."""
        effective = {
            name: logging.getLevelName(logging.getLogger(name).getEffectiveLevel()).lower()
            for name in OURS
        }
        return {"levels": effective, "changes": [self._one(name) for name in self._changes]}

    def change(self, logger: str, level: str, lasts: timedelta | None) -> None:
        """Have a logger say as much as that, for so long, or until it is taken back.

        Raises:
            InvalidArgument: `INVALID_REQUEST`; the logger cannot have the level.
            ResourceExhausted: `LOG_LEVELS_EXHAUSTED`; too many are changed.
        """
        if violation := fault(logger, level) or _unknown(logger):
            raise invalid(violation)
        self.take_back(logger)
        if len(self._changes) >= MOST_CHANGES:
            raise ResourceExhausted(
                "LOG_LEVELS_EXHAUSTED",
                f"{MOST_CHANGES} loggers are changed already",
                suggested_fix="take one back: PUT its name with no level",
            )
        # Before it may hide this line.
        log.warning("log level changed", extra={"changed": logger, "to": level})
        change = _Change(level, logging.getLogger(logger).level)
        self._changes[logger] = change
        logging.getLogger(logger).setLevel(LEVELS[level])
        if lasts is not None:
            loop = asyncio.get_running_loop()
            change.timer = loop.call_later(lasts.total_seconds(), self.take_back, logger)

    def take_back(self, logger: str) -> None:
        """Have it say what it said before it was changed."""
        if (change := self._changes.pop(logger, None)) is None:
            return
        if change.timer is not None:
            change.timer.cancel()
        logging.getLogger(logger).setLevel(change.before)
        log.warning("log level taken back", extra={"changed": logger})

    def clear(self) -> None:
        """Take all of it back."""
        for name in list(self._changes):
            self.take_back(name)

    def _one(self, name: str) -> dict[str, object]:
        change = self._changes[name]
        one: dict[str, object] = {"logger": name, "level": change.level}
        if change.timer is not None:
            left = change.timer.when() - asyncio.get_running_loop().time()
            one["reverts_in_seconds"] = round(max(left, 0.0), 1)
        return one
