"""How far the schema of a service's part of the event store is, and bringing it up to date.

A schema only grows: what an older version needs is still there, so that both may run at a time.
"""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_SCHEMA: Final = Path(__file__).parent / "schema"
_MIGRATING: Final = 0x72_75_6E_70_6C_61_6E_65  # The advisory lock's name: "runplane".
_BUSY_SECONDS: Final = 30.0
"""For others that write to the same file."""
_CONNECT_SECONDS: Final = 5.0
_STEP_SECONDS: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class Steps:
    """Of a schema; they are numbered from 1."""

    applied: int
    known: int
    """To this version of the code."""

    @property
    def pending(self) -> int:
        """How many are still to be applied."""
        return max(self.known - self.applied, 0)


def steps(dialect: str) -> list[Path]:
    """The steps of `sqlite` or `postgres`, in their order."""
    return sorted(_SCHEMA.glob(f"{dialect}_*.sql"))


def file_of(url: str, service: str) -> Path:
    """The service's file of `sqlite:///DIR`."""
    return Path(url.removeprefix("sqlite:///")) / f"{service}.db"


async def looked_at(url: str, service: str) -> Steps | None:
    """How far the store at this URL is; None if it has no schema. Nothing is touched.

    Raises:
        sqlite3.Error, OSError, asyncpg.PostgresError, ValueError: it cannot be read.
    """
    if url.startswith("sqlite:"):
        return await asyncio.to_thread(of_file, file_of(url, service))
    if url.startswith("memory:"):
        return None
    connection = await _connected(url, service)
    try:
        return await of_schema(connection, service)
    finally:
        connection.terminate()


async def brought_up(url: str, service: str) -> None:
    """Apply what is pending. Of several that do so at a time, one applies each step.

    Raises:
        sqlite3.Error, OSError, asyncpg.PostgresError, ValueError: as far as it came, it stays.
    """
    if url.startswith("sqlite:"):
        await asyncio.to_thread(_bring_file, file_of(url, service))
    elif not url.startswith("memory:"):
        connection = await _connected(url, service)
        try:
            await apply_to_schema(connection, service)
        finally:
            connection.terminate()


def of_file(path: Path) -> Steps:
    """How far a file is; one that is not there has none. It is not touched.

    Raises:
        sqlite3.Error: it is no database, or cannot be read.
    """
    if not path.exists():
        return Steps(0, len(steps("sqlite")))
    with closing(_opened_to_look(path)) as db:
        db.execute("select count(*) from sqlite_master").fetchone()
        return of_open_file(db)


def _opened_to_look(path: Path) -> sqlite3.Connection:
    """A connection that makes no file beside this one, not even the index of its log: its next
    writer may be another user, who could not write that."""
    has_log, has_index = (path.with_name(f"{path.name}{end}").exists() for end in ("-wal", "-shm"))
    if has_log and not has_index:  # As a crash or a copy leaves it: the index stays in memory.
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&vfs=unix-none", uri=True)
        db.execute("pragma locking_mode = exclusive")
        return db
    mode = "mode=ro" if has_log else "immutable=1"  # Without a log nobody writes.
    return sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)


def of_open_file(db: sqlite3.Connection) -> Steps:
    """How far the file of this connection is."""
    return Steps(int(db.execute("pragma user_version").fetchone()[0]), len(steps("sqlite")))


def apply_to_file(db: sqlite3.Connection) -> None:
    """Bring the file up to date: each step once, and all or none of it."""
    for number, step in enumerate(steps("sqlite"), 1):
        db.execute("begin immediate")
        if db.execute("pragma user_version").fetchone()[0] < number:
            for statement in _statements(step.read_text()):
                db.execute(statement)
            db.execute(f"pragma user_version = {number}")
        db.commit()


async def of_schema(connection: Any, schema: str) -> Steps:
    """How far a schema of PostgreSQL is; one that is not there has none."""
    known = len(steps("postgres"))
    table = f'"{schema}".migrations'
    if await connection.fetchval("select to_regclass($1)", table) is None:
        return Steps(0, known)
    last = await connection.fetchval(f"select coalesce(max(number), 0) from {table}")
    return Steps(int(last), known)


async def apply_to_schema(connection: Any, schema: str) -> None:
    """Bring the schema up to date: each step once, whoever else is at it. The connection has it as
    its `search_path`."""
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", _MIGRATING)
        await connection.execute(f'create schema if not exists "{schema}"')
        await connection.execute(
            "create table if not exists migrations"
            " (number int primary key, applied timestamptz not null default now())"
        )
        last = await connection.fetchval("select coalesce(max(number), 0) from migrations")
        for number, step in enumerate(steps("postgres"), 1):
            if number > last:
                await connection.execute(step.read_text())
                await connection.execute("insert into migrations (number) values ($1)", number)


async def _connected(url: str, schema: str) -> Any:
    import asyncpg  # noqa: PLC0415 - who needs none, loads none

    settings = {"search_path": schema, "application_name": f"runplane-migrate-{schema}"}
    return await asyncpg.connect(
        url,
        timeout=_CONNECT_SECONDS,
        command_timeout=_STEP_SECONDS,
        server_settings=settings,
    )


def _bring_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)) as db:
        apply_to_file(db)


def _statements(script: str) -> Iterator[str]:
    """The statements of a script; unlike `executescript`, without a commit of its own."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
