"""The adapters under test. One more is one more parameter and a fixture of that name."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import datetime
from uuid import uuid4

import pytest

from services.chassis.eventlog.open import event_store
from services.chassis.eventlog.port import EventStore


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store(
    request: pytest.FixtureRequest, clock: Callable[[], datetime]
) -> AsyncIterator[EventStore]:
    """An empty store of each adapter, on a clock that the test moves."""
    url = request.getfixturevalue(request.param)
    name = f"test_{uuid4().hex[:12]}"
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(event_store(url, service=name, now=clock))
