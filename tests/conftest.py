"""What every test may use. Nothing here knows a service."""

import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
for folder in (ROOT, ROOT / "protos" / "gen"):  # As the editable install has it.
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


# A shell starts what runs in its background with Ctrl-C ignored, and children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


class FakeClock:
    """A clock that a test moves. Called, it says the date; `monotonic` counts seconds."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        self._seconds = 1_000.0

    def __call__(self) -> datetime:
        """The date and time."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return self._seconds

    def advance(self, by: timedelta) -> None:
        """Let time pass."""
        self._now += by
        self._seconds += by.total_seconds()


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still until it is moved."""
    return FakeClock()
