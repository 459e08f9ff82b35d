"""The event stores that there are, by URL. One more is one more fixture."""

from collections.abc import Iterator
from pathlib import Path

import pytest

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
