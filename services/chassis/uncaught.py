"""Errors that nobody caught, and warnings, as lines of the log. What Python and asyncio write of
them is no JSON, and quotes what they are about."""

import logging
import sys
import threading
import warnings
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
_QUOTE_CODE: Final = (DeprecationWarning, RuntimeWarning, ResourceWarning)


def of_loop(_: AbstractEventLoop, context: dict[str, Any]) -> None:
    """A loop's exception handler."""
    said = str(context.get("message", "")).partition("\n")[0]
    _tell("loop", context.get("exception"), said if said in _KNOWN else "")


@contextmanager
def told() -> Iterator[None]:
    """Log warnings, errors of threads and those that cannot be raised, until it is left."""
    before = threading.excepthook, sys.unraisablehook, warnings.showwarning
    threading.excepthook = lambda of: _tell("thread", of.exc_value)
    sys.unraisablehook = lambda of: _tell("finalizer", of.exc_value)
    warnings.showwarning = _warned  # type: ignore[assignment] # As it is called: by position.
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook, warnings.showwarning = before


def _warned(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object
) -> None:
    said = str(message) if issubclass(category, _QUOTE_CODE) else ""
    facts = {"kind": category.__name__, "place": f"{filename}:{lineno}", "said": said}
    log.warning("Python warns", extra=facts)


def _tell(place: str, error: BaseException | None, said: str = "") -> None:
    if not isinstance(error, SystemExit):
        log.error("nobody caught this", exc_info=error, extra={"place": place, "said": said})
