"""An event store in one SQLite file, for one process at a time.

Statements run on the event loop and commits on a thread (docs/decisions/0007): a statement takes
microseconds and touches memory; only a commit waits for the disk. What arrives while one commit is
under way becomes the next one, so that many appends share an fsync.
"""

import asyncio
import fcntl
import json
import math
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any, Final, TypeVar

from services.chassis.errors import (
    FailedPrecondition,
    ResourceExhausted,
    ServiceError,
)
from services.chassis.eventlog import refusals, sqlite_outbox, sqlite_tallies
from services.chassis.eventlog import sqlite_work as work
from services.chassis.eventlog.bells import Bells, keeper
from services.chassis.eventlog.matching import within
from services.chassis.eventlog.measures import Measures, timed
from services.chassis.eventlog.migrations import apply_to_file, of_open_file
from services.chassis.eventlog.port import (
    MOST_LETTERS,
    OUTBOX,
    Append,
    Claim,
    Kept,
    Letter,
    Outgoing,
    Query,
    Record,
    Snapshot,
    StoredEvent,
)
from services.chassis.eventlog.sqlite_append import append
from services.chassis.eventlog.sqlite_where import where
from services.chassis.eventlog.tallies import Held, Hold, Tally
from services.chassis.eventlog.times import from_micros, length, micros, span, utc_now

Result = TypeVar("Result")
Operation = Callable[[sqlite3.Connection], Any]

MAX_WAITING: Final = 10_000
MAX_BATCH: Final = 256
# A commit this quick costs the loop less than two changes of threads. So where the disk is quick,
# and there is nobody to share a commit with, it runs on the loop.
INLINE_SECONDS: Final = 0.001_5
INLINE_BATCH: Final = 2
FORGOTTEN: Final = 0.9  # Of the slowest commit, with each one after it.
CHECKPOINT_PAGES: Final = 4000
PAGE_BYTES: Final = 4096
EVERY: Final = (
    "select tenant, kind, id, attributes, body from records"
    " where kind = ? and (tenant, id) > (?, ?) order by tenant, id limit ?"
)
_PRAGMAS: Final = (
    "pragma journal_mode = wal",
    "pragma synchronous = full",  # A commit is on the disk when it returns, whatever happens then.
    "pragma cache_size = -16000",
    "pragma mmap_size = 268435456",
    f"pragma wal_autocheckpoint = {CHECKPOINT_PAGES}",
)


class SqliteEventStore:
    """See `EventStore`. `opened` makes one."""

    def __init__(
        self,
        writer: sqlite3.Connection,
        reader: sqlite3.Connection,
        finder: sqlite3.Connection,
        now: Callable[[], datetime],
        name: str = "",
    ) -> None:
        self.measures = Measures(name)
        self._writer = writer
        self._reader = reader
        self._finder = finder
        self._now = now
        self._waiting: deque[tuple[Operation, asyncio.Future[Any]]] = deque()
        self._bells = Bells()
        self._has_work = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._slowest = math.inf
        self._is_closed = False

    @timed
    async def append(self, batch: Append) -> Claim | None:
        """See `EventStore`."""
        now = micros(self._now())
        claim = await self._write(lambda db: append(db, batch, now))
        self._bells.ring(keeper(batch, claim))
        self._bells.ring(OUTBOX if batch.outbox else None)
        return claim

    async def read(
        self, tenant: str, stream_id: str, *, after: int = 0, limit: int = 1000
    ) -> Sequence[StoredEvent]:
        """See `EventStore`."""
        return self._events(
            "tenant = ? and stream_id = ? and sequence > ? order by sequence limit ?",
            (tenant, stream_id, after, limit),
        )

    async def read_all(self, *, after: int = 0, limit: int = 1000) -> Sequence[StoredEvent]:
        """See `EventStore`."""
        return self._events("position > ? order by position limit ?", (after, limit))

    async def snapshot(self, tenant: str, stream_id: str) -> Snapshot | None:
        """See `EventStore`."""
        found = self._one(
            "select sequence, body from snapshots where tenant = ? and stream_id = ?",
            (tenant, stream_id),
        )
        return Snapshot(*found) if found else None

    async def kept(self, tenant: str, scope: str, key: str) -> Kept | None:
        """See `EventStore`."""
        found = self._one(
            "select stream_id, fingerprint from keys"
            " where tenant = ? and scope = ? and key = ? and expires > ?",
            (tenant, scope, key, micros(self._now())),
        )
        return Kept(*found) if found else None

    async def claim(
        self, kind: str, owner: str, *, limit: int, lease: timedelta
    ) -> Sequence[Claim]:
        """See `EventStore`."""
        now = micros(self._now())
        if not self._one(work.FREE, (kind, now, now, 1)):
            return ()
        held = work.Lease(owner, now, now + span(lease))
        return await self._write(lambda db: work.claim(db, kind, held, limit))

    async def take(
        self, tenant: str, stream_id: str, owner: str, *, lease: timedelta
    ) -> Claim | None:
        """See `EventStore`."""
        now, stream = micros(self._now()), (tenant, stream_id)
        held = work.Lease(owner, now, now + span(lease))
        return await self._write(lambda db: work.take(db, stream, held))

    async def renew(self, owner: str, *, lease: timedelta) -> Sequence[Claim]:
        """See `EventStore`."""
        until = micros(self._now()) + span(lease)
        return await self._write(lambda db: work.renew(db, owner, until))

    async def release(self, claims: Sequence[Claim]) -> None:
        """See `EventStore`."""
        await self._write(lambda db: work.release(db, claims))

    async def waiting(self, kind: str) -> int:
        """See `EventStore`."""
        now = micros(self._now())
        return int(self._one(work.COUNTED, (kind, now, now))[0])

    async def due_in(self, kind: str) -> timedelta | None:
        """See `EventStore`."""
        now = micros(self._now())
        found = self._one(work.NEXT_DUE, (kind, now))
        return length(max(found[0] - now, 0)) if found else None

    async def send(
        self, tenant: str, stream_id: str, kind: str, body: bytes, *, most: int = MOST_LETTERS
    ) -> str | None:
        """See `EventStore`."""
        now, letter = micros(self._now()), Letter(tenant, stream_id, 0, kind, body)
        owner = await self._write(lambda db: work.send(db, letter, most=most, now=now))
        self._bells.ring(owner)
        return owner

    async def letters(
        self, owner: str, *, stream_id: str = "", known: Collection[int] = ()
    ) -> Sequence[Letter]:
        """See `EventStore`."""
        found = self._all(work.LETTERS, work.letters_of(owner, stream_id, known))
        return [Letter(*row) for row in found]

    async def rung(self, owner: str) -> None:
        """See `EventStore`."""
        await self._bells.rung(owner)

    async def record(self, tenant: str, kind: str, record_id: str) -> Record | None:
        """See `EventStore`."""
        found = self._one(
            "select kind, id, attributes, body from records"
            " where tenant = ? and kind = ? and id = ?",
            (tenant, kind, record_id),
        )
        return _record(found) if found else None

    async def records(self, query: Query) -> Sequence[Record]:
        """See `EventStore`."""
        fits, values = where(query.where)
        order, beyond = ("desc", "<") if query.is_descending else ("asc", ">")
        statement = (
            "select kind, id, attributes, body from records"
            f" where tenant = ? and kind = ? and (? = '' or id {beyond} ?) and {fits}"
            f" order by id {order} limit ?"
        )
        given = (query.tenant, query.kind, query.after, query.after, *values, query.limit)
        # A filter may have to look at many rows: not on the loop.
        return await asyncio.to_thread(
            _found, self._finder, statement, given, max_bytes=query.max_bytes
        )

    async def every(
        self, kind: str, *, after: tuple[str, str] = ("", ""), limit: int = 1000
    ) -> Sequence[tuple[str, Record]]:
        """See `EventStore`."""
        given = (kind, *after, limit)  # Not on the loop: it may be many bytes.
        rows = await asyncio.to_thread(_fetched, self._finder, EVERY, given)
        return [(tenant, _record(row)) for tenant, *row in rows]

    async def outgoing(self, *, after: int = 0, limit: int = 100) -> Sequence[Outgoing]:
        """See `EventStore`."""
        return list(map(sqlite_outbox.outgoing, self._all(sqlite_outbox.OUTGOING, (after, limit))))

    async def backlog(self) -> Mapping[str, int]:
        """See `EventStore`."""
        return dict(self._all(sqlite_outbox.BACKLOG, ()))

    async def told(self, numbers: Sequence[int]) -> None:
        """See `EventStore`."""
        rows = [(number,) for number in numbers]
        await self._write(lambda db: db.executemany(sqlite_outbox.TOLD, rows))

    async def hold(self, tenant: str, hold: Hold) -> Held:
        """See `EventStore`."""
        now = micros(self._now())
        until = now + span(hold.lasts)
        return await self._write(lambda db: sqlite_tallies.hold(db, tenant, hold, now, until))

    async def tallied(
        self, tenant: str, first: str, last: str, *, limit: int = 1000
    ) -> Sequence[Tally]:
        """See `EventStore`."""
        rows = self._all(sqlite_tallies.TALLIED, (tenant, first, last, limit))
        return [Tally(row[0], row[1:]) for row in rows]

    async def commit_all(self) -> None:
        """Do what was asked for, batch by batch, until `close`."""
        try:
            while not self._is_closed or self._waiting:
                await self._has_work.wait()
                self._has_work.clear()
                while self._waiting:
                    count = min(len(self._waiting), MAX_BATCH)  # The loop is others' as well.
                    await self._commit([self._waiting.popleft() for _ in range(count)])
        finally:
            self._thread.shutdown()  # Waits for the commit that is under way, if one is.

    def close(self) -> None:
        """Take no more; `commit_all` ends when all is committed."""
        self._is_closed = True
        self._has_work.set()

    async def _write(self, operation: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run in the next transaction; the result once that is on the disk.

        An operation that raises a ServiceError must not have changed anything.
        """
        if self._is_closed:
            raise refusals.unavailable("it is closed")
        if len(self._waiting) >= MAX_WAITING:
            message = f"{MAX_WAITING} changes wait for the disk"
            raise ResourceExhausted("EVENT_STORE_OVERLOADED", message).after(timedelta(seconds=1))
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((operation, future))
        self._has_work.set()
        return await future

    async def _commit(self, batch: Sequence[tuple[Operation, asyncio.Future[Any]]]) -> None:
        """One transaction. Whoever waits is told when it is on the disk, or that it is not."""
        outcomes: list[tuple[asyncio.Future[Any], Any]] = []
        try:
            self._writer.execute("begin immediate")
            for operation, future in batch:
                try:
                    outcomes.append((future, operation(self._writer)))
                except ServiceError as refused:
                    outcomes.append((future, refused))
            if len(batch) <= INLINE_BATCH and self._slowest < INLINE_SECONDS:
                took = self._committed()
            else:
                loop = asyncio.get_running_loop()
                took = await loop.run_in_executor(self._thread, self._committed)
            slowest = self._slowest if self._slowest < math.inf else 0.0
            self._slowest = max(took, slowest * FORGOTTEN)
            self.measures.committed(len(batch))
        except sqlite3.Error as error:
            self._writer.rollback()
            failed = refusals.unavailable(str(error))
            outcomes = [(future, failed) for _, future in batch]
        for future, outcome in outcomes:
            _settle(future, outcome)

    def _committed(self) -> float:
        """Seconds that a commit took."""
        began = perf_counter()
        self._writer.commit()
        return perf_counter() - began

    def _events(self, which: str, values: Sequence[object]) -> list[StoredEvent]:
        columns = "tenant, stream_id, sequence, position, type, time, body"
        found = self._all(f"select {columns} from events where {which}", values)
        return [
            StoredEvent(tenant, stream_id, sequence, position, kind, from_micros(time), body)
            for tenant, stream_id, sequence, position, kind, time, body in found
        ]

    def _one(self, statement: str, values: Sequence[object]) -> Any:
        found = self._all(statement, values)
        return found[0] if found else None

    def _all(self, statement: str, values: Sequence[object]) -> list[Any]:
        return _fetched(self._reader, statement, values)


@asynccontextmanager
async def opened(
    path: Path, *, now: Callable[[], datetime] = utc_now, migrates: bool = True
) -> AsyncIterator[SqliteEventStore]:
    """The store in this file, made if it is not there. On leaving, all is committed.

    Raises:
        FailedPrecondition: `EVENT_STORE_IN_USE`, another process has it; or
            `EVENT_STORE_NOT_MIGRATED`, somebody else is to bring its schema up to date.
        Unavailable: `EVENT_STORE_UNAVAILABLE`; the file cannot be used.
    """
    with _held(path), ExitStack() as stack:
        writer, reader, finder = (stack.enter_context(_connected(path)) for _ in range(3))
        _prepare(writer, path, migrates=migrates)
        for connection in (reader, finder):
            connection.execute("pragma query_only = true")
        async with asyncio.TaskGroup() as group:
            store = SqliteEventStore(writer, reader, finder, now, path.stem)
            group.create_task(store.commit_all())
            try:
                yield store
            finally:
                store.close()


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Keep other processes out: each would wait for the other with its loop standing still."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_suffix(".lock").open("w")
    except OSError as error:
        raise refusals.unavailable(f"{path}: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FailedPrecondition(
                "EVENT_STORE_IN_USE",
                f"{path} is in use; stop the process that has it, or share a PostgreSQL: "
                "RUNPLANE_EVENT_STORE=postgresql://…",
            ) from None
        yield


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for pragma in _PRAGMAS:
            connection.execute(pragma)
    except sqlite3.Error as error:
        raise refusals.unavailable(f"{path}: {error}") from None
    with closing(connection):
        yield connection


def _prepare(db: sqlite3.Connection, path: Path, *, migrates: bool) -> None:
    try:
        if migrates:
            apply_to_file(db)
        elif (steps := of_open_file(db)).pending:
            raise refusals.not_migrated(path.stem, steps.pending)
        make_room(db)
        # Whoever had claims is gone: the file is this process's alone.
        db.execute("update work set lease_until = 0 where owner <> ''")
    except sqlite3.Error as error:
        raise refusals.unavailable(f"{path}: {error}") from None


def make_room(db: sqlite3.Connection) -> None:
    """Let the write-ahead log have the size that it comes to have.

    A commit that makes a file longer waits for the file system's own log, and where the CPUs are
    busy that is 20 times as long (docs/decisions/0007). What is rolled back stays as room: pages
    that the cache cannot hold are in the file by then.
    """
    size = (CHECKPOINT_PAGES + 200) * PAGE_BYTES
    cache = db.execute("pragma cache_size").fetchone()[0]
    db.execute("pragma wal_checkpoint(truncate)")
    db.execute("pragma cache_size = 16")
    db.execute("begin immediate")
    db.execute("create table room (content)")
    db.execute("insert into room values (zeroblob(?))", (size,))
    db.rollback()
    db.execute(f"pragma cache_size = {cache}")
    version = db.execute("pragma user_version").fetchone()[0]
    db.execute(f"pragma user_version = {version}")  # A commit, for the room to be on the disk.


def _fetched(db: sqlite3.Connection, statement: str, values: Sequence[object]) -> list[Any]:
    try:
        return db.execute(statement, values).fetchall()
    except sqlite3.Error as error:
        raise refusals.unavailable(str(error)) from None


def _found(
    db: sqlite3.Connection, statement: str, values: Sequence[object], *, max_bytes: int | None
) -> list[Record]:
    try:
        with closing(db.execute(statement, values)) as rows:
            return list(within(map(_record, rows), max_bytes))
    except sqlite3.Error as error:
        raise refusals.unavailable(str(error)) from None


def _record(row: Sequence[Any]) -> Record:
    kind, record_id, attributes, body = row
    return Record(kind, record_id, json.loads(attributes), body)


def _settle(future: asyncio.Future[Any], outcome: Any) -> None:
    if future.done():  # Who waited was cancelled.
        return
    if isinstance(outcome, ServiceError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
