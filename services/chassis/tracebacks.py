"""Errors as log lines have them: where and of which type, without what callers sent.

Texts of errors quote what was wrong, and that may be a prompt or a secret: a `ValueError` has the
value, a validator's error the input, a store's the row. So only texts that quote code are shown.
"""

import traceback
from collections.abc import Iterator
from typing import Final

from services.chassis.errors import ServiceError

_QUOTE_CODE: Final = (
    AssertionError,
    AttributeError,
    ImportError,
    NameError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
)
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
    if not isinstance(error, _QUOTE_CODE):
        return "(its text may quote what callers sent, and is left out)"
    return str(error)[:_MOST_CHARACTERS]
