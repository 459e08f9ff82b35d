"""The stores under test. One more is one more parameter and a fixture of that name."""

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import pytest

from services.chassis.eventlog.open import event_store
from services.chassis.eventlog.port import EventStore
from services.tool_registry.adapters.toolstore import EventStoreTools
from tests.servers.postgres import Postgres
from tests.servers.postgres import postgres as postgres_server


@pytest.fixture
def memory() -> str:
    """The URL of the in-process store."""
    return "memory:"


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    """The URL of a SQLite store."""
    return f"sqlite:///{tmp_path}"


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """A PostgreSQL server for all tests."""
    with postgres_server() as running:
        yield running


@pytest.fixture
def postgres(server: Postgres) -> str:
    """The URL of a PostgreSQL store."""
    return server.url


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
