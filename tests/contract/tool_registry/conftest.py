"""The stores under test. One more is one more parameter and a fixture of that name."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from uuid import uuid4

import pytest

from services.chassis.eventlog.open import event_store
from services.chassis.eventlog.port import EventStore
from services.tool_registry.adapters.toolstore import EventStoreTools


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def events(
    request: pytest.FixtureRequest, clock: Callable[[], datetime]
) -> AsyncIterator[EventStore]:
    """An empty event store of each kind."""
    url = request.getfixturevalue(request.param)
    async with event_store(url, service=f"test_{uuid4().hex[:12]}", now=clock) as opened:
        yield opened


@pytest.fixture
def store(events: EventStore) -> EventStoreTools:
    """Tools on that store."""
    return EventStoreTools(events)
