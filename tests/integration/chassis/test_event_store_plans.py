"""What waits, and what has expired, costs nothing to those who look for something else."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from services.chassis.eventlog import postgres as pg
from services.chassis.eventlog import postgres_work, sqlite_append, sqlite_work
from services.chassis.eventlog import sqlite as lite
from services.chassis.eventlog.open import event_store
from services.chassis.eventlog.port import Append, EventStore, Key, NewEvent, Record, Work
from tests.conftest import FakeClock
from tests.servers.postgres import Postgres, postgres

ROWS: Final = 5_000
LOOKED_AT: Final = 20  # Rows, at most, where five thousand wait.
DAY: Final = timedelta(days=1)
EVENT: Final = [NewEvent("thing.happened.v1", datetime(2026, 1, 2, tzinfo=UTC), b"a")]


def waiting(number: int) -> Append:
    """A stream that is due in a year."""
    record = Record("task", f"task_{number:05}", {}, b"")
    work = Work("task", delay=365 * DAY)
    return Append("acme", record.id, 0, (), work=work, records=[record])


def keyed(number: int) -> Append:
    key = Key("s_1", f"signal_{number}", "f", DAY)
    return Append("acme", f"s_{number}", 0, EVENT, key=key)


async def all_of(store: EventStore, appends: list[Append]) -> None:
    for start in range(0, len(appends), 1_000):
        await asyncio.gather(*map(store.append, appends[start : start + 1_000]))


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A PostgreSQL of this test's own."""
    with postgres() as running:
        yield running


@asynccontextmanager
async def connected(server: Postgres) -> AsyncIterator[Any]:
    """A connection beside the store's, to the same schema."""
    connection = await asyncpg.connect(server.url, server_settings={"search_path": "test"})
    try:
        yield connection
    finally:
        await connection.close()


async def rows_looked_at(connection: Any, statement: str, *values: object) -> int:
    """How many rows the statement meets, kept or not, wherever its plan reads a table."""
    transaction = connection.transaction()
    await transaction.start()
    found = await connection.fetchval(f"explain (analyze, format json) {statement}", *values)
    await transaction.rollback()
    return sum(map(_looked_at, _nodes(json.loads(found)[0]["Plan"])))


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _looked_at(node: dict[str, Any]) -> int:
    if "Relation Name" not in node or "Scan" not in node["Node Type"]:
        return 0
    return int(node["Actual Rows"] + node.get("Rows Removed by Filter", 0))


async def test_postgresql_does_not_look_at_what_is_far_away(server: Postgres) -> None:
    async with event_store(server.url, service="test") as store, connected(server) as beside:
        await all_of(store, [waiting(n) for n in range(ROWS)])
        await beside.execute("analyze")
        claim = await rows_looked_at(beside, postgres_work.CLAIM, "task", "one", None, 8, 1_000)
        due = await rows_looked_at(beside, postgres_work.NEXT_DUE, "task", None)
        count = await rows_looked_at(beside, postgres_work.WAITING, "task", None)
        walk = await rows_looked_at(beside, pg.EVERY, "task", "acme", "task_02500", 10)

    assert (claim, count) == (0, 0)
    assert due <= LOOKED_AT
    assert walk <= LOOKED_AT


@pytest.mark.parametrize(
    ("statement", "values", "plan"),
    [
        (sqlite_work.FREE, ("task", 1, 1, 8), "work_by_kind (kind=? AND due<?)"),
        (sqlite_work.NEXT_DUE, ("task", 1), "work_by_kind (kind=?)"),
        (sqlite_work.COUNTED, ("task", 1, 1), "work_by_kind (kind=? AND due<?)"),
        (lite.EVERY, ("task", "acme", "t", 10), "PRIMARY KEY (kind=? AND (tenant,id)>(?,?))"),
        (sqlite_append.EXPIRED, (1,), "keys_by_expiry (expires<?)"),
    ],
)
async def test_sqlite_finds_by_an_index_and_sorts_nothing(
    tmp_path: Path, statement: str, values: tuple[object, ...], plan: str
) -> None:
    async with event_store(f"sqlite:///{tmp_path}", service="test"):
        with closing(sqlite3.connect(tmp_path / "test.db")) as beside:
            rows = beside.execute(f"explain query plan {statement}", values).fetchall()

    steps = [row[-1] for row in rows]
    assert any(plan in step for step in steps)
    assert not any("SCAN" in step or "TEMP B-TREE" in step for step in steps)


async def test_postgresql_forgets_keys_as_new_ones_come(server: Postgres) -> None:
    clock = FakeClock()
    async with (
        event_store(server.url, service="test", now=clock) as store,
        connected(server) as beside,
    ):
        await all_of(store, [keyed(n) for n in range(2_000)])
        clock.advance(DAY)
        await all_of(store, [keyed(n) for n in range(2_000, 2_500)])
        kept = await beside.fetchval("select count(*) from keys")

    assert kept == 500


async def test_sqlite_forgets_keys_as_new_ones_come(tmp_path: Path) -> None:
    clock = FakeClock()
    async with event_store(f"sqlite:///{tmp_path}", service="test", now=clock) as store:
        await all_of(store, [keyed(n) for n in range(2_000)])
        clock.advance(DAY)
        await all_of(store, [keyed(n) for n in range(2_000, 2_500)])
        with closing(sqlite3.connect(tmp_path / "test.db")) as beside:
            (kept,) = beside.execute("select count(*) from keys").fetchone()

    assert kept == 500
