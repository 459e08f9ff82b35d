"""The `current_time`: what time it is, anywhere."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from difflib import get_close_matches
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from services.chassis.schema import Schema
from services.tool_registry.domain.tool import Definition, Entry, Example, ToolFailure
from services.tool_registry.ports import Answer, Invocation

EXAMPLE_TIME: Final = "2026-01-02T03:04:05Z"
"""When the examples were made."""


def _example(query: str, timezone: str, time: str, weekday: str) -> Example:
    output = {"time": time, "timezone": timezone, "weekday": weekday, "unix_seconds": 1767323045}
    return Example(query, {"timezone": timezone}, output)


DEFINITION: Final = Definition(
    name="current_time",
    version="1.0.0",
    description=(
        "Tells the current date, time and weekday in a time zone: an IANA name such as "
        "Europe/Berlin, or UTC."
    ),
    input_schema=Schema(
        {
            "type": "object",
            "properties": {
                "timezone": {
                    "type": "string",
                    "description": "IANA name, such as America/New_York",
                    "default": "UTC",
                    "minLength": 1,
                    "maxLength": 64,
                }
            },
            "additionalProperties": False,
        },
        field="input",
    ),
    output_schema=Schema(
        {
            "type": "object",
            "properties": {
                "time": {"type": "string", "format": "date-time", "maxLength": 40},
                "timezone": {"type": "string", "maxLength": 64},
                "weekday": {"type": "string", "maxLength": 9},
                "unix_seconds": {"type": "integer", "minimum": 0, "maximum": 2**53},
            },
            "required": ["time", "timezone", "weekday", "unix_seconds"],
            "additionalProperties": False,
        },
        field="output",
    ),
    examples=(
        _example("What time is it in Tokyo?", "Asia/Tokyo", "2026-01-02T12:04:05+09:00", "Friday"),
        _example("What day is it today?", "UTC", EXAMPLE_TIME, "Friday"),
        _example(
            "What is the date in Los Angeles?",
            "America/Los_Angeles",
            "2026-01-01T19:04:05-08:00",
            "Thursday",
        ),
    ),
    timeout=timedelta(seconds=1),
)

_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


_ANY_PLACE: Final = "use an IANA name of a place, such as Europe/Berlin, or UTC"
# Not IANA names, and what people in most cases mean by them.
_ABBREVIATIONS: Final = {
    "pst": "America/Los_Angeles",
    "pdt": "America/Los_Angeles",
    "mdt": "America/Denver",
    "cst": "America/Chicago",
    "cdt": "America/Chicago",
    "edt": "America/New_York",
    "bst": "Europe/London",
    "cest": "Europe/Berlin",
    "ist": "Asia/Kolkata",
    "jst": "Asia/Tokyo",
    "aest": "Australia/Sydney",
}


class CurrentTime:
    """A tool. `now` is the clock."""

    entry = Entry(DEFINITION)
    unavailable = ""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now

    async def warm(self) -> None:
        """Read the names of all time zones, so that the first call is quick."""
        await asyncio.to_thread(_names)

    async def call(self, invocation: Invocation) -> Answer:
        """See the definition."""
        name, zone = _zone(str(invocation.arguments.get("timezone", "UTC")))
        now = self._now()
        return Answer(
            {
                "time": now.astimezone(zone).isoformat(timespec="seconds").replace("+00:00", "Z"),
                "timezone": name,
                "weekday": _WEEKDAYS[now.astimezone(zone).weekday()],
                "unix_seconds": int(now.timestamp()),
            }
        )


@cache
def _names() -> dict[str, str]:
    """Every time zone by its name in lower case. Made once, in 15 ms."""
    return {name.lower(): name for name in sorted(available_timezones())}


def _zone(asked: str) -> tuple[str, ZoneInfo]:
    """The zone's own name, and the zone; upper and lower case are the same."""
    name = _names().get(asked.strip().replace(" ", "_").lower())
    if name is not None:
        try:
            return name, ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass  # Listed, and yet not readable.
    raise ToolFailure("TIMEZONE_UNKNOWN", f"there is no time zone {asked!r}", _suggestion(asked))


def _suggestion(asked: str) -> str:
    wanted = asked.strip().replace(" ", "_").lower()
    if wanted.startswith(("gmt", "utc")):  # Etc/GMT+2 is two hours *behind* Greenwich.
        return _ANY_PLACE
    if wanted in _ABBREVIATIONS:
        return f"use {_ABBREVIATIONS[wanted]}"
    cities = {name.rpartition("/")[2]: full for name, full in _names().items()}
    if wanted.rpartition("/")[2] in cities:
        return f"use {cities[wanted.rpartition('/')[2]]}"
    if close := get_close_matches(wanted.rpartition("/")[2], cities, 1, 0.75):
        return f"use {cities[close[0]]}"
    if close := get_close_matches(wanted, _names(), 1, 0.75):
        return f"use {_names()[close[0]]}"
    return _ANY_PLACE
