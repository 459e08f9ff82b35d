"""Versions of tools (SemVer 2.0.0), and ranges of them as npm writes them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeVar

from semantic_version import NpmSpec, Version

from services.chassis.errors import Violation, invalid

FIRST: Final = "1.0.0"
MAX_CHARACTERS: Final = 64

_VERSION: Final = re.compile(r"[0-9A-Za-z.+-]+")  # The library takes digits of any script.
_RANGE: Final = re.compile(r"[0-9A-Za-z.+^~<>=|* -]+")
_SPACED: Final = re.compile(r"([<>=^~]) +")
_SPACES: Final = re.compile(r" {2,}")
_EXACT: Final = re.compile(r"[v=]")

Result = TypeVar("Result")


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
        version = _order(text)
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


def check(text: str, field: str) -> None:
    """Refuse what is no version. Raises InvalidArgument `INVALID_REQUEST`."""
    fix = "send MAJOR.MINOR.PATCH, such as 1.2.0 (SemVer 2.0.0)"
    _read(parsed, text, Violation(field, "is not a version", fix))


def wanted(text: str, field: str = "version") -> Wanted:
    """What an exact version, a range or nothing asks for.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; it is none of these.
    """
    fix = "send a version such as 1.2.0, a range such as ^1.2 or >=1.2 <3, or leave it out"
    return _read(_wanted, text, Violation(field, "is no version and no range of versions", fix))


def is_newer(one: str, other: str) -> bool:
    """Whether one version comes after the other."""
    return bool(_order(one) > _order(other))


def is_prerelease(text: str) -> bool:
    """Whether it is before a release, such as `2.0.0-beta.1`."""
    return bool(parsed(text).prerelease)


def is_bound(new: str, old: str) -> bool:
    """Whether callers of the old version expect the new one to do for them: the same major version,
    or below 1.0.0 the same minor one."""
    return _promise(new) == _promise(old)


def after_break(text: str) -> str:
    """The next version that may break callers of this one."""
    bare = parsed(text).truncate()
    return str(bare.next_major() if bare.major else bare.next_minor())


def after_addition(text: str) -> str:
    """The next version that offers more and breaks nobody."""
    bare = parsed(text).truncate()
    return str(bare.next_minor() if bare.major else bare.next_patch())


def after_correction(text: str) -> str:
    """The next version that callers need not notice."""
    return str(parsed(text).truncate().next_patch())


def _promise(text: str) -> tuple[int, int]:
    version = parsed(text)
    return (version.major, 0 if version.major else version.minor)


@lru_cache(maxsize=4096)
def _order(text: str) -> Version:
    """What counts of a version beside others: all but its build metadata."""
    return parsed(text).truncate("prerelease")


@lru_cache(maxsize=1024)
def _wanted(text: str) -> Wanted:
    if not text:
        return Wanted()
    if len(text) > MAX_CHARACTERS or not _RANGE.fullmatch(text):
        raise ValueError(text[:MAX_CHARACTERS])
    plain = _SPACES.sub(" ", _SPACED.sub(r"\1", text)).strip()
    bare = plain[1:] if _EXACT.match(plain) else plain
    try:
        return Wanted(exact=_order(bare))
    except ValueError:
        return Wanted(ranges=NpmSpec(plain))


def _read(read: Callable[[str], Result], text: str, refused: Violation) -> Result:
    try:
        return read(text)
    except ValueError:
        raise invalid(refused) from None
