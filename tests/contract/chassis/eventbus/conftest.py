"""The adapters under test. One more is one more parameter and a fixture of that name."""

import pytest

from services.chassis.eventbus.memory import MemoryEventBus
from services.chassis.eventbus.port import EventBus


@pytest.fixture
def memory() -> EventBus:
    """The in-process bus."""
    return MemoryEventBus()


@pytest.fixture(params=["memory"])
def bus(request: pytest.FixtureRequest) -> EventBus:
    """An empty bus of each adapter."""
    found: EventBus = request.getfixturevalue(request.param)
    return found
