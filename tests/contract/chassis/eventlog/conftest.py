"""The adapters under test. One more is one more parameter and a fixture of that name."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from services.chassis.eventlog.open import event_store
from services.chassis.eventlog.port import EventStore


@pytest.fixture
def memory() -> str:
    """The URL of the in-process store."""
    return "memory:"


@pytest.fixture(params=["memory"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[EventStore]:
    """An empty store of each adapter."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(event_store(request.getfixturevalue(request.param)))
