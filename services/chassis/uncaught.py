"""Errors that nobody caught, as lines of the log. What Python and asyncio write of them is no JSON,
and quotes what the errors were about."""

import logging
import sys
import threading
from asyncio import AbstractEventLoop
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

log = logging.getLogger(__name__)

# What asyncio says beside them, where that is all that it says.
_KNOWN: Final = frozenset(
    {
        "Task exception was never retrieved",
        "Future exception was never retrieved",
        "Task was destroyed but it is pending!",
    }
)


def of_loop(_: AbstractEventLoop, context: dict[str, Any]) -> None:
    """A loop's exception handler."""
    said = str(context.get("message", "")).partition("\n")[0]
    _tell("loop", context.get("exception"), said if said in _KNOWN else "")


@contextmanager
def told() -> Iterator[None]:
    """Log those of threads, and those that cannot be raised, until the context is left."""
    before = threading.excepthook, sys.unraisablehook
    threading.excepthook = lambda of: _tell("thread", of.exc_value)
    sys.unraisablehook = lambda of: _tell("finalizer", of.exc_value)
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = before


def _tell(place: str, error: BaseException | None, said: str = "") -> None:
    if not isinstance(error, SystemExit):
        log.error("nobody caught this", exc_info=error, extra={"place": place, "said": said})
