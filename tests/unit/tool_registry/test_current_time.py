"""The time in any zone."""

from datetime import UTC, datetime

import pytest

from services.tool_registry.adapters.builtin.current_time import CurrentTime
from services.tool_registry.domain.tool import ToolFailure
from services.tool_registry.ports import Invocation


async def told(at: datetime, **arguments: str) -> dict[str, object]:
    answer = (await CurrentTime(lambda: at).call(Invocation(arguments))).value
    assert isinstance(answer, dict)
    return answer


SUMMER = datetime(2026, 7, 1, 22, 30, tzinfo=UTC)


async def test_without_a_zone_it_is_utc() -> None:
    assert await told(SUMMER) == {
        "time": "2026-07-01T22:30:00Z",
        "timezone": "UTC",
        "weekday": "Wednesday",
        "unix_seconds": 1782945000,
    }


async def test_the_day_is_the_zones_own() -> None:
    answer = await told(SUMMER, timezone="Asia/Tokyo")

    assert (answer["time"], answer["weekday"]) == ("2026-07-02T07:30:00+09:00", "Thursday")


async def test_summer_time_is_kept() -> None:
    winter = datetime(2026, 1, 1, tzinfo=UTC)

    assert str((await told(SUMMER, timezone="Europe/Berlin"))["time"]).endswith("+02:00")
    assert str((await told(winter, timezone="Europe/Berlin"))["time"]).endswith("+01:00")


@pytest.mark.parametrize("name", ["europe/berlin", " Europe/Berlin ", "EUROPE/BERLIN"])
async def test_case_and_spaces_do_not_matter(name: str) -> None:
    assert (await told(SUMMER, timezone=name))["timezone"] == "Europe/Berlin"


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("Europ/Berlin", "use Europe/Berlin"),
        ("Tokyo", "use Asia/Tokyo"),
        ("new york", "use America/New_York"),
        ("America/Tokio", "use Asia/Tokyo"),
        ("PST", "use America/Los_Angeles"),
        ("GMT+2", "use an IANA name of a place, such as Europe/Berlin, or UTC"),
        ("../../etc/passwd", "use an IANA name of a place, such as Europe/Berlin, or UTC"),
        ("\x00", "use an IANA name of a place, such as Europe/Berlin, or UTC"),
    ],
)
async def test_an_unknown_zone_has_a_suggestion(name: str, fix: str) -> None:
    with pytest.raises(ToolFailure) as caught:
        await told(SUMMER, timezone=name)

    assert (caught.value.reason, caught.value.suggested_fix) == ("TIMEZONE_UNKNOWN", fix)
