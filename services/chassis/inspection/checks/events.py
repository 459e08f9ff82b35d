"""Whether a service's part of the event store can be reached and used."""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from services.chassis.eventlog.migrations import Steps, file_of, of_file, of_schema
from services.chassis.inspection.checks.ports import disk, nearest
from services.chassis.inspection.effective import masked
from services.chassis.inspection.finding import Finding, doubtful, fine, wrong

CHECK: Final = "event store"
VARIABLE: Final = "RUNPLANE_EVENT_STORE"
OLDEST: Final = 13
APART: Final = timedelta(seconds=2)
FAR_APART: Final = timedelta(seconds=30)


def utc_now() -> datetime:
    """This machine's clock."""
    return datetime.now(UTC)


async def event_store(
    url: str, service: str, *, migrates: bool = True, now: Callable[[], datetime] = utc_now
) -> list[Finding]:
    """The store at this URL, as this service sees it."""
    if url.startswith("sqlite:"):
        return await asyncio.to_thread(_file, file_of(url, service), service, migrates=migrates)
    if url.startswith(("postgres:", "postgresql:")):
        return await _postgres(url, service, migrates=migrates, now=now)
    fix = f"set {VARIABLE}, unless tasks may be lost with the process"
    return [doubtful(CHECK, "events are in memory, and end with the process", fix)]


def schema(steps: Steps, service: str, *, migrates: bool) -> Finding:
    """Whether the schema is what this version needs."""
    message = f"schema {service} has {steps.applied} of {steps.known} steps"
    command = f"runplane migrate --service {service}"
    if steps.applied > steps.known:
        fix = "update this version, or go on: an older one works beside a newer one"
        return doubtful("schema", f"{message}: a newer version has been here", fix)
    if not steps.pending:
        return fine("schema", message)
    if not migrates:
        return wrong("schema", message, f"run: {command}")
    return fine("schema", f"{message}; the service's start applies the rest")


def clock(whose: str, there: datetime, here: datetime) -> Finding:
    """Whether this machine's clock is right, as far as another one says."""
    apart = here - there
    seconds = apart.total_seconds()
    message = f"this machine is {abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} "
    fix = "set the clocks, with NTP for instance"
    if abs(apart) > FAR_APART:
        return wrong("clock", message + whose, fix)
    if abs(apart) > APART:
        return doubtful("clock", message + whose, fix)
    return fine("clock", f"as {whose} has it")


def writable(check: str, folder: Path) -> Finding | None:
    """Why nothing can be written there, if nothing can."""
    there = nearest(folder)
    if not there.is_dir():
        return wrong(check, f"{there} is no folder", "choose another folder, or remove the file")
    is_read_only = os.statvfs(there).f_flag & os.ST_RDONLY
    if is_read_only or not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
        fix = "let this user write there, or choose another folder"
        return wrong(check, f"{there} cannot be written", fix)
    return None


def _file(path: Path, service: str, *, migrates: bool) -> list[Finding]:
    if (obstacle := writable(CHECK, path.parent)) is not None:
        return [obstacle]
    try:
        steps = of_file(path)
    except (sqlite3.Error, OSError) as error:
        fix = "restore it from a backup, or move it away to begin anew"
        return [wrong(CHECK, f"{path} cannot be read: {error}", fix)]
    if path.exists() and not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        fix = "let this user write it: it may be another's"
        return [wrong(CHECK, f"{path} cannot be written", fix)]
    said = f"{path} can be used" if path.exists() else f"{path} will be made"
    return [
        fine(CHECK, said),
        schema(steps, service, migrates=migrates),
        disk("disk", path.parent),
    ]


async def _postgres(
    url: str, service: str, *, migrates: bool, now: Callable[[], datetime]
) -> list[Finding]:
    import asyncpg  # noqa: PLC0415 - who needs none, loads none

    try:
        connection = await asyncpg.connect(url, timeout=4, command_timeout=4)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
        return [_unreachable(asyncpg, url, error)]
    try:
        found = await connection.fetchval("select clock_timestamp()")
        major = connection.get_server_version().major
        steps = await of_schema(connection, service)
        may_make = await connection.fetchval(
            "select has_database_privilege(current_database(), 'create')"
        )
    except asyncpg.PostgresError as error:
        fix = f"give the user of {VARIABLE} the schema {service}"
        return [wrong(CHECK, f"the database refuses: {error}", fix)]
    finally:
        connection.terminate()
    return [
        *_of_version(major, masked(url)),
        schema(steps, service, migrates=migrates),
        *_of_rights(steps, service, may_make=may_make),
        clock("the database", found, now()),
    ]


def _of_version(major: int, url: str) -> Iterator[Finding]:
    message = f"PostgreSQL {major} answers at {url}"
    if major < OLDEST:
        yield wrong(CHECK, message, f"use PostgreSQL {OLDEST} or newer")
    else:
        yield fine(CHECK, message)


def _of_rights(steps: Steps, service: str, *, may_make: bool) -> Iterator[Finding]:
    if not steps.applied and not may_make:
        fix = f"let the user create it, or run as its owner: runplane migrate --service {service}"
        yield wrong("schema", f"the user may not create the schema {service}", fix)


def _unreachable(asyncpg: Any, url: str, error: Exception) -> Finding:
    where = masked(url)
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        fix = f"check user and password of {VARIABLE}"
        return wrong(CHECK, f"{where} refuses this user or password", fix)
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return wrong(CHECK, f"{where} has no such database", "create it, or name another")
    if isinstance(error, ValueError):
        fix = "write postgresql://USER:PASSWORD@HOST:5432/DATABASE"
        return wrong(CHECK, "it is not the URL of a PostgreSQL", fix)
    fix = f"start PostgreSQL, or check host and port of {VARIABLE}"
    return wrong(CHECK, f"nothing answers at {where} ({type(error).__name__})", fix)
