"""What callers say of cached answers, in the words of HTTP's `Cache-Control`. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

from services.chassis.errors import Violation, invalid

MAX_CHARACTERS: Final = 256
HEADER: Final = "cache-control"

_ALLOW: Final = "allow"
_NO_CACHE: Final = "no-cache"
_NO_STORE: Final = "no-store"
_MAX_AGE: Final = "max-age"
_ONLY: Final = "only-if-cached"
_WORDS: Final = (_ALLOW, _NO_CACHE, _NO_STORE, _MAX_AGE, _ONLY)
_SECONDS: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_FIX: Final = f"send some of {', '.join(_WORDS)}, with commas between; {_MAX_AGE} has =SECONDS"


@dataclass(frozen=True, slots=True)
class CacheControl:
    """What a caller says; by default that answers may be cached which are always the same."""

    is_allowed: bool = False
    """Whether answers may be cached that are another each time, too."""
    is_asked: bool = True
    """Whether it may be answered from the cache."""
    is_kept: bool = True
    """Whether its answer may be kept."""
    max_age_seconds: int | None = None
    """How old an answer may be; None for as old as any that is kept."""
    is_only: bool = False
    """Whether it is to be answered from the cache or not at all."""

    def covers(self, temperature: float | None) -> bool:
        """Whether the cache has to do with an answer whose tokens are chosen so."""
        return self.is_kept and (self.is_allowed or temperature == 0)

    def anew(self) -> "CacheControl":
        """The same, but not answered from the cache: what it has was no good."""
        return replace(self, is_asked=False)


@dataclass(slots=True)
class CacheCounts:
    """What came of asking the cache."""

    hits: dict[str, int] = field(default_factory=lambda: {"near": 0, "far": 0, "shared": 0})
    """By where the answer was."""
    misses: int = 0
    kept: int = 0
    entries: int = 0
    """That are at hand now."""
    size_bytes: int = 0
    """What they take, about."""


@dataclass(frozen=True, slots=True)
class _Read:
    control: CacheControl
    unknown: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    """Those that are known, and do not say what they should."""


def control(text: str) -> CacheControl:
    """What a text says that has been checked."""
    return _read(text).control


def faults(text: str) -> Iterator[Violation]:
    """What is wrong with the field `cache` of a request."""
    if len(text) > MAX_CHARACTERS:
        fix = f"send at most {MAX_CHARACTERS} characters"
        yield Violation("cache", "is too long", fix)
        return
    read = _read(text)
    for word in (*read.unknown, *read.wrong):
        yield Violation("cache", f"{word[:64]!r} says nothing to the cache", _FIX)
    if read.control.is_only and not (read.control.is_asked and read.control.is_kept):
        fix = f"leave out {_ONLY}, or {_NO_CACHE} and {_NO_STORE}"
        yield Violation("cache", f"{_ONLY} asks for what the other words forbid", fix)


def of_header(text: str) -> str:
    """What of a header says something to this cache, as the field has it. Other words are for other
    caches.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; one of ours does not say what it should.
    """
    read = _read(text[: MAX_CHARACTERS + 1])
    if len(text) > MAX_CHARACTERS:
        raise invalid(Violation(HEADER, "is too long", f"send at most {MAX_CHARACTERS} characters"))
    if read.wrong:
        raise invalid(Violation(HEADER, f"{read.wrong[0][:64]!r} is not understood", _FIX))
    known = _written(read.control)
    if found := [*faults(known)]:
        raise invalid(replace(found[0], field=HEADER))
    return known


@lru_cache(256)
def _read(text: str) -> _Read:
    read = _Read(CacheControl())
    for part in text.split(","):
        name, has_value, value = part.strip().partition("=")
        name, value = name.strip().lower(), value.strip().strip('"')
        if not name and not has_value:
            continue
        read = _with(read, name, value if has_value else None)
    return read


def _with(read: _Read, name: str, value: str | None) -> _Read:
    if name not in _WORDS:
        return replace(read, unknown=(*read.unknown, name or "="))
    if name == _MAX_AGE and not _SECONDS.fullmatch(value or ""):
        return replace(read, wrong=(*read.wrong, f"{name}={value or ''}"))
    if name != _MAX_AGE and value is not None:
        return replace(read, wrong=(*read.wrong, f"{name}={value}"))
    return replace(read, control=_said(read.control, name, value))


def _written(said: CacheControl) -> str:
    words = {
        _ALLOW: said.is_allowed,
        _NO_CACHE: not said.is_asked,
        _NO_STORE: not said.is_kept,
        f"{_MAX_AGE}={said.max_age_seconds}": said.max_age_seconds is not None,
        _ONLY: said.is_only,
    }
    return ", ".join(word for word, is_said in words.items() if is_said)


def _said(before: CacheControl, name: str, value: str | None) -> CacheControl:
    changes: Mapping[str, Mapping[str, Any]] = {
        _ALLOW: {"is_allowed": True},
        _NO_CACHE: {"is_asked": False},
        _NO_STORE: {"is_kept": False},
        _ONLY: {"is_only": True},
        _MAX_AGE: {"max_age_seconds": int(value or 0)},
    }
    return replace(before, **changes[name])
