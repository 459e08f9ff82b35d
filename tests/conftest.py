"""What every test may use. Nothing here knows a service."""

import gc
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from services.chassis.context import RequestContext
    from services.chassis.tracing.spans import Span

ROOT = Path(__file__).parent.parent
for folder in (ROOT, ROOT / "protos" / "gen"):  # As the editable install has it.
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


# An example's time says how busy the machine is; what must end soon says so beside its test.
settings.register_profile("runplane", deadline=None)
settings.load_profile("runplane")

# A shell starts what runs in its background with Ctrl-C ignored, and children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Take what pytest and the imports made out of the collector's sight, as services do when they
    have started: to look at it all held the loop for 200 ms, and services answer 50 ms before a
    deadline."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


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


@pytest.fixture
def in_a_request() -> "Iterator[RequestContext]":
    """A request that this test is a part of, and no test after it; whatever it makes current."""
    from services.chassis.context import current, local_context  # noqa: PLC0415 - the path is ready

    token = current.set(context := local_context())
    yield context
    current.reset(token)


@pytest.fixture
def recorded(in_a_request: "RequestContext") -> "Iterator[list[Span]]":
    """The spans that ended since this test began, in a request that is recorded."""
    from services.chassis.tracing.sampling import Sampling  # noqa: PLC0415
    from services.chassis.tracing.spans import Span, record_to  # noqa: PLC0415

    assert in_a_request.sampled
    spans: list[Span] = []
    record_to(spans.append, Sampling())
    yield spans
    record_to(None, Sampling())
