"""Times as stores keep them: microseconds since 1970 in UTC."""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def micros(time: datetime) -> int:
    """An aware time as a number."""
    return (time - _EPOCH) // _MICROSECOND


def span(length: timedelta) -> int:
    """A length of time as a number."""
    return length // _MICROSECOND


def length(number: int) -> timedelta:
    """The length of time that a number stands for."""
    return timedelta(microseconds=number)


def from_micros(number: int) -> datetime:
    """The time that a number stands for."""
    return _EPOCH + timedelta(microseconds=number)
