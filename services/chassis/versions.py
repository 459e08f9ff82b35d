"""Versions (SemVer 2.0.0), and ranges of them as npm writes them. Pure."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from semantic_version import NpmSpec, Version

from services.chassis.errors import Violation, invalid

MAX_CHARACTERS: Final = 64

_VERSION: Final = re.compile(r"[0-9A-Za-z.+-]+")  # The library takes digits of any script.
_RANGE: Final = re.compile(r"[0-9A-Za-z.+^~<>=|* -]+")
_SPACED: Final = re.compile(r"([<>=^~]) +")
_SPACES: Final = re.compile(r" {2,}")
_EXACT: Final = re.compile(r"[v=]")
_FIX: Final = "send a version such as 1.2.0, a range such as ^1.2 or >=1.2 <3, or leave it out"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which versions a caller takes."""

    exact: Version | None = None
    """Without build metadata, which makes no difference (SemVer 10)."""
    ranges: NpmSpec | None = None

    @property
    def is_any(self) -> bool:
        """Whether the newest is wanted, whichever that is."""
        return self.exact is None and self.ranges is None

    def allows(self, text: str) -> bool:
        """Whether this version will do."""
        version = ordered(text)
        if self.exact is not None:
            return bool(version == self.exact)
        if self.ranges is not None:
            return bool(self.ranges.match(version))
        return not version.prerelease


@lru_cache(maxsize=4096)
def parsed(text: str) -> Version:
    """A version. Raises `ValueError` for what is none."""
    if len(text) > MAX_CHARACTERS or not _VERSION.fullmatch(text):
        raise ValueError(text[:MAX_CHARACTERS])
    return Version(text)


@lru_cache(maxsize=4096)
def ordered(text: str) -> Version:
    """What counts of a version beside others: all but its build metadata."""
    return parsed(text).truncate("prerelease")


def wanted(text: str, field: str = "version") -> Wanted:
    """What an exact version, a range or nothing asks for.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; it is none of these.
    """
    try:
        return _wanted(text)
    except ValueError:
        raise invalid(Violation(field, "is no version and no range of versions", _FIX)) from None


def is_wanted(text: str) -> bool:
    """Whether a text is an exact version, a range or nothing."""
    try:
        _wanted(text)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1024)
def _wanted(text: str) -> Wanted:
    if not text:
        return Wanted()
    if len(text) > MAX_CHARACTERS or not _RANGE.fullmatch(text):
        raise ValueError(text[:MAX_CHARACTERS])
    plain = _SPACES.sub(" ", _SPACED.sub(r"\1", text)).strip()
    bare = plain[1:] if _EXACT.match(plain) else plain
    try:
        return Wanted(exact=ordered(bare))
    except ValueError:
        return Wanted(ranges=NpmSpec(plain))
