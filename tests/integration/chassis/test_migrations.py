"""Schemas of the event store, brought up to date by whoever is told to."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from services.chassis.errors import FailedPrecondition
from services.chassis.eventlog.migrations import brought_up, looked_at
from services.chassis.eventlog.open import event_store
from tests.servers.postgres import Postgres, postgres


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A PostgreSQL of this file's own."""
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store in which there is nothing, of services that no other test has."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}"
    server: Postgres = request.getfixturevalue("server")
    return server.url


@pytest.fixture
def service(request: pytest.FixtureRequest) -> str:
    """A schema of this test's own."""
    return f"s_{abs(hash(request.node.nodeid)):x}"


async def test_what_is_pending_is_applied_once_however_many_do_it(url: str, service: str) -> None:
    before = await looked_at(url, service)

    await asyncio.gather(*(brought_up(url, service) for _ in range(6)))

    after = await looked_at(url, service)
    assert before is not None
    assert after is not None
    assert (before.applied, before.pending) == (0, before.known)
    assert (after.applied, after.pending) == (after.known, 0)


async def test_a_start_that_may_not_migrate_says_what_to_run(url: str, service: str) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        async with event_store(url, service=service, migrates=False):
            pass

    steps = await looked_at(url, service)
    assert caught.value.reason == "EVENT_STORE_NOT_MIGRATED"
    assert f"runplane migrate --service {service}" in caught.value.metadata["suggested_fix"]
    assert steps is not None
    assert steps.applied == 0


async def test_a_start_that_may_not_migrate_goes_by_what_somebody_did(
    url: str, service: str
) -> None:
    await brought_up(url, service)

    async with event_store(url, service=service, migrates=False) as store:
        found = await store.read_all()

    assert list(found) == []


async def test_a_migration_beside_a_running_service_is_none(url: str, service: str) -> None:
    async with event_store(url, service=service) as store:
        await brought_up(url, service)
        found = await store.read_all()

    assert list(found) == []


async def test_a_schema_of_a_newer_version_can_be_used(server: Postgres, service: str) -> None:
    await brought_up(server.url, service)
    connection = await asyncpg.connect(server.url, server_settings={"search_path": service})
    await connection.execute("insert into migrations (number) values (99)")
    await connection.close()

    async with event_store(server.url, service=service) as store:
        await store.read_all()

    steps = await looked_at(server.url, service)
    assert steps is not None
    assert (steps.applied, steps.pending) == (99, 0)


async def test_who_may_not_make_a_schema_can_use_one(server: Postgres, service: str) -> None:
    await brought_up(server.url, service)
    connection = await asyncpg.connect(server.url)
    await connection.execute(
        f'create role "{service}_app" login; grant usage on schema "{service}" to "{service}_app";'
        f' grant all on all tables in schema "{service}" to "{service}_app"'
    )
    await connection.close()
    as_app = server.url.replace("postgres@", f"{service}_app@", 1)

    async with event_store(as_app, service=service) as store:
        found = await store.read_all()

    assert list(found) == []
