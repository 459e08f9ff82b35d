"""Errors as log lines have them: where and of which type, without what callers sent.

Texts of errors quote what was wrong, and that may be a prompt or a secret: a `ValueError` has the
value, a validator's error the input, a store's the row, and a library's `RuntimeError` anything. So
only texts are shown that quote code, and were raised by ours or Python's.
"""

import sys
import traceback
from collections.abc import Iterator
from typing import Final

from services.chassis.errors import ServiceError
from services.chassis.levels import OURS

_QUOTE_CODE: Final = (
    AssertionError,
    AttributeError,
    ImportError,
    NameError,
    NotImplementedError,
    RuntimeError,
    TypeError,
)
_PYTHONS: Final = frozenset({"builtins", "socket", "ssl"})
_LEFT_OUT: Final = "(its text may quote what callers sent, and is left out)"
_MOST_ERRORS: Final = 10
_MOST_FRAMES: Final = 40
_MOST_CHARACTERS: Final = 500


def shown(error: BaseException) -> str:
    """The error's frames and its type, and those of the errors behind it."""
    return "\n".join(_one(each) for each in _all(error))


def _all(error: BaseException) -> Iterator[BaseException]:
    """It, what it came of, and what it is a group of; each once."""
    left, seen = [error], set[int]()
    while left and len(seen) < _MOST_ERRORS:
        each = left.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        behind = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
        parts = each.exceptions if isinstance(each, BaseExceptionGroup) else ()
        left += [*parts, *([behind] if behind else [])]


def _one(error: BaseException) -> str:
    frames = "".join(traceback.format_tb(error.__traceback__, limit=-_MOST_FRAMES))
    return f"{frames}{type(error).__module__}.{type(error).__qualname__}: {_text(error)}"


def _text(error: BaseException) -> str:
    if isinstance(error, ServiceError):
        return error.reason
    if type(error).__module__ not in _PYTHONS:
        return _LEFT_OUT
    if isinstance(error, OSError) and error.strerror:  # The file's name may be a caller's.
        return f"[Errno {error.errno}] {error.strerror}"[:_MOST_CHARACTERS]
    if not isinstance(error, (*_QUOTE_CODE, OSError)) or not _is_known(_place(error)):
        return _LEFT_OUT
    return str(error)[:_MOST_CHARACTERS]


def _place(error: BaseException) -> str:
    """The module that raised it; empty if nothing did."""
    place = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        place = str(frame.f_globals.get("__name__", ""))
    return place


def _is_known(place: str) -> bool:
    top = place.partition(".")[0]
    return not top or top in OURS or top in sys.stdlib_module_names
