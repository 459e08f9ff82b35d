"""The adapters under test. One more is one more parameter and a fixture of that name."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import pytest

from services.chassis.eventlog.open import event_store
from services.chassis.eventlog.port import EventStore
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
async def store(
    request: pytest.FixtureRequest, clock: Callable[[], datetime]
) -> AsyncIterator[EventStore]:
    """An empty store of each adapter, on a clock that the test moves."""
    url = request.getfixturevalue(request.param)
    name = f"test_{uuid4().hex[:12]}"
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(event_store(url, service=name, now=clock))
