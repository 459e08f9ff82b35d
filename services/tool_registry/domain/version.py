"""Versions of tools: which one comes next, and what callers of one expect of another."""

from typing import Final

from services.chassis.errors import Violation, invalid
from services.chassis.versions import ordered, parsed

FIRST: Final = "1.0.0"


def check(text: str, field: str) -> None:
    """Refuse what is no version. Raises InvalidArgument `INVALID_REQUEST`."""
    try:
        parsed(text)
    except ValueError:
        fix = "send MAJOR.MINOR.PATCH, such as 1.2.0 (SemVer 2.0.0)"
        raise invalid(Violation(field, "is not a version", fix)) from None


def is_newer(one: str, other: str) -> bool:
    """Whether one version comes after the other."""
    return bool(ordered(one) > ordered(other))


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
