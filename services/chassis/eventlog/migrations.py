"""How far the schema of a service's part of the event store is, and bringing it up to date."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_SCHEMA: Final = Path(__file__).parent / "schema"


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


def of_file(path: Path) -> Steps:
    """How far a file is; one that is not there has none. It is not touched.

    Raises:
        sqlite3.Error: it is no database, or cannot be read.
    """
    known = len(steps("sqlite"))
    if not path.exists():
        return Steps(0, known)
    # Without a log beside it nobody writes, and to open it otherwise would make one.
    has_log = path.with_name(f"{path.name}-wal").exists()
    mode = "mode=ro" if has_log else "immutable=1"
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as db:
        db.execute("select count(*) from sqlite_master").fetchone()
        return Steps(int(db.execute("pragma user_version").fetchone()[0]), known)


async def of_schema(connection: Any, schema: str) -> Steps:
    """How far a schema of PostgreSQL is; one that is not there has none."""
    known = len(steps("postgres"))
    table = f'"{schema}".migrations'
    if await connection.fetchval("select to_regclass($1)", table) is None:
        return Steps(0, known)
    last = await connection.fetchval(f"select coalesce(max(number), 0) from {table}")
    return Steps(int(last), known)
