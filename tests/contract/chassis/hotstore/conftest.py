"""The adapters under test. One more is one more parameter and a fixture of that name."""

from datetime import timedelta
from typing import Protocol

import pytest

from services.chassis.hotstore.memory import MemoryHotStore
from services.chassis.hotstore.port import HotStore


class Clock(Protocol):
    """What these tests need of the clock."""

    def monotonic(self) -> float: ...

    def advance(self, by: timedelta) -> None: ...


@pytest.fixture
def memory(clock: Clock) -> HotStore:
    """The in-process store, on a clock that the test moves."""
    return MemoryHotStore(now=clock.monotonic)


@pytest.fixture(params=["memory"])
def store(request: pytest.FixtureRequest) -> HotStore:
    """An empty store of each adapter."""
    found: HotStore = request.getfixturevalue(request.param)
    return found
