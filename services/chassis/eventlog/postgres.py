"""An event store in PostgreSQL: a schema for each service, shared by its replicas.

Appends that arrive while others are under way go together in the next transaction: one round trip
and one wait for the disk for all of them.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import asyncpg

from services.chassis.errors import InvalidArgument, ResourceExhausted, ServiceError
from services.chassis.eventbus.port import Message
from services.chassis.eventlog import postgres_tallies as tallying
from services.chassis.eventlog import postgres_work as work
from services.chassis.eventlog import refusals
from services.chassis.eventlog.batches import arguments
from services.chassis.eventlog.bells import Bells
from services.chassis.eventlog.measures import Measures, timed
from services.chassis.eventlog.migrations import apply_to_schema, of_schema
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
from services.chassis.eventlog.postgres_bells import listen_all
from services.chassis.eventlog.postgres_where import Where
from services.chassis.eventlog.tallies import Held, Hold, Tally
from services.chassis.eventlog.times import from_micros, length, micros, span

MAX_WAITING: Final = 10_000
MAX_BATCH: Final = 128
MOST_CONNECTIONS: Final = 8  # Of a process, beside the one that listens.
WRITERS: Final = 2
EVERY: Final = (
    "select tenant, kind, id, attributes, body from records"
    " where kind = $1 and (tenant, id) > ($2, $3) order by tenant, id limit $4"
)
_FAILURES: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
_COLUMNS: Final = "tenant, stream_id, sequence, position, type, time, body"
# Those of transactions that nothing can come before any more.
_SETTLED: Final = "(pg_snapshot_xmin(pg_current_snapshot())::text::bigint << 20)"

Waiting = tuple[Append, "asyncio.Future[Claim | None]"]

# What the bodies before a record come to.
_BEFORE: Final = (
    "coalesce(sum(octet_length(body)) over (order by id {order}"
    " rows between unbounded preceding and 1 preceding), 0)"
)


class PostgresEventStore:
    """See `EventStore`. `opened` makes one. Without a clock of its own it goes by the server's."""

    def __init__(
        self,
        pool: "asyncpg.Pool[Any]",
        bells: Bells,
        now: Callable[[], datetime] | None,
        name: str = "",
    ) -> None:
        self.measures = Measures(name)
        self._pool = pool
        self._bells = bells
        self._clock = now
        self._waiting: deque[Waiting] = deque()
        self._has_work = asyncio.Semaphore(0)
        self._is_closed = False

    @timed
    async def append(self, batch: Append) -> Claim | None:
        """See `EventStore`."""
        if self._is_closed:
            raise refusals.unavailable("it is closed")
        if len(self._waiting) >= MAX_WAITING:
            message = f"{MAX_WAITING} changes wait for the event store"
            raise ResourceExhausted("EVENT_STORE_OVERLOADED", message).after(timedelta(seconds=1))
        future: asyncio.Future[Claim | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((batch, future))
        self._has_work.release()
        claim = await future
        self._bells.ring(OUTBOX if batch.outbox else None)
        return claim

    async def read(
        self, tenant: str, stream_id: str, *, after: int = 0, limit: int = 1000
    ) -> Sequence[StoredEvent]:
        """See `EventStore`."""
        rows = await self._fetch(
            f"select {_COLUMNS} from events"
            " where tenant = $1 and stream_id = $2 and sequence > $3 order by sequence limit $4",
            tenant,
            stream_id,
            after,
            limit,
        )
        return list(map(_event, rows))

    async def read_all(self, *, after: int = 0, limit: int = 1000) -> Sequence[StoredEvent]:
        """See `EventStore`."""
        rows = await self._fetch(
            f"select {_COLUMNS} from events"
            f" where position > $1 and position < {_SETTLED} order by position limit $2",
            after,
            limit,
        )
        return list(map(_event, rows))

    async def snapshot(self, tenant: str, stream_id: str) -> Snapshot | None:
        """See `EventStore`."""
        rows = await self._fetch(
            "select sequence, body from snapshots where tenant = $1 and stream_id = $2",
            tenant,
            stream_id,
        )
        return Snapshot(*rows[0]) if rows else None

    async def kept(self, tenant: str, scope: str, key: str) -> Kept | None:
        """See `EventStore`."""
        rows = await self._fetch(
            "select stream_id, fingerprint from keys"
            " where tenant = $1 and scope = $2 and key = $3 and expires > time_of($4)",
            tenant,
            scope,
            key,
            self._now(),
        )
        return Kept(*rows[0]) if rows else None

    async def claim(
        self, kind: str, owner: str, *, limit: int, lease: timedelta
    ) -> Sequence[Claim]:
        """See `EventStore`."""
        rows = await self._fetch(work.CLAIM, kind, owner, self._now(), limit, span(lease))
        return [Claim(*row[:4]) for row in sorted(rows, key=lambda row: row[4])]

    async def take(
        self, tenant: str, stream_id: str, owner: str, *, lease: timedelta
    ) -> Claim | None:
        """See `EventStore`."""
        rows = await self._fetch(work.TAKE, tenant, stream_id, owner, self._now(), span(lease))
        return Claim(tenant, stream_id, owner, rows[0][0]) if rows else None

    async def renew(self, owner: str, *, lease: timedelta) -> Sequence[Claim]:
        """See `EventStore`."""
        rows = await self._fetch(work.RENEW, owner, self._now(), span(lease))
        return [Claim(*row) for row in rows]

    async def release(self, claims: Sequence[Claim]) -> None:
        """See `EventStore`."""
        await self._fetch(
            work.RELEASE,
            [each.tenant for each in claims],
            [each.stream_id for each in claims],
            [each.owner for each in claims],
            [each.epoch for each in claims],
        )

    async def waiting(self, kind: str) -> int:
        """See `EventStore`."""
        rows = await self._fetch(work.WAITING, kind, self._now())
        return int(rows[0][0])

    async def due_in(self, kind: str) -> timedelta | None:
        """See `EventStore`."""
        rows = await self._fetch(work.NEXT_DUE, kind, self._now())
        return length(rows[0][0]) if rows else None

    async def send(
        self, tenant: str, stream_id: str, kind: str, body: bytes, *, most: int = MOST_LETTERS
    ) -> str | None:
        """See `EventStore`."""
        rows = await self._fetch(work.SEND, tenant, stream_id, kind, body, self._now(), most)
        if not rows:
            return None
        owner, has_room, _ = rows[0]
        if not has_room:
            raise refusals.inbox_full(stream_id, most)
        return str(owner)

    async def letters(
        self, owner: str, *, stream_id: str = "", known: Collection[int] = ()
    ) -> Sequence[Letter]:
        """See `EventStore`."""
        rows = await self._fetch(work.LETTERS, owner, stream_id, list(known))
        return [Letter(*row) for row in rows]

    async def rung(self, owner: str) -> None:
        """See `EventStore`. It rings while the connection that listens is up."""
        await self._bells.rung(owner)

    async def record(self, tenant: str, kind: str, record_id: str) -> Record | None:
        """See `EventStore`."""
        rows = await self._fetch(
            "select kind, id, attributes, body from records"
            " where tenant = $1 and kind = $2 and id = $3",
            tenant,
            kind,
            record_id,
        )
        return _record(rows[0]) if rows else None

    async def records(self, query: Query) -> Sequence[Record]:
        """See `EventStore`."""
        where = Where(6)
        fits = where.text(query.where)
        order, beyond = ("desc", "<") if query.is_descending else ("asc", ">")
        rows = await self._fetch(
            "select kind, id, attributes, body from (select *,"
            f" {_BEFORE.format(order=order)} as bytes_before from records"
            f" where tenant = $1 and kind = $2 and ($3 = '' or id {beyond} $3) and {fits}"
            f" order by id {order} limit $4) page"
            f" where $5::bigint is null or bytes_before <= $5 order by id {order}",
            query.tenant,
            query.kind,
            query.after,
            query.limit,
            query.max_bytes,
            *where.values,
        )
        return list(map(_record, rows))

    async def every(
        self, kind: str, *, after: tuple[str, str] = ("", ""), limit: int = 1000
    ) -> Sequence[tuple[str, Record]]:
        """See `EventStore`."""
        rows = await self._fetch(EVERY, kind, *after, limit)
        return [(tenant, _record(row)) for tenant, *row in rows]

    async def outgoing(self, *, after: int = 0, limit: int = 100) -> Sequence[Outgoing]:
        """See `EventStore`."""
        rows = await self._fetch(
            "select number, topic, key, value, headers from outbox"
            f" where number > $1 and number < {_SETTLED} order by number limit $2",
            after,
            limit,
        )
        return [
            Outgoing(number, Message(topic, key, value, json.loads(headers)))
            for number, topic, key, value, headers in rows
        ]

    async def backlog(self) -> Mapping[str, int]:
        """See `EventStore`."""
        rows = await self._fetch("select topic, count(*) from outbox group by topic")
        return dict(rows)

    async def told(self, numbers: Sequence[int]) -> None:
        """See `EventStore`."""
        await self._fetch("delete from outbox where number = any($1::bigint[])", list(numbers))

    async def hold(self, tenant: str, hold: Hold) -> Held:
        """See `EventStore`."""
        given = (tenant, hold.id, span(hold.lasts), tallying.wants(hold))
        return tallying.held(await self._fetch(tallying.HOLD, self._now(), *given))

    async def tallied(
        self, tenant: str, first: str, last: str, *, limit: int = 1000
    ) -> Sequence[Tally]:
        """See `EventStore`."""
        rows = await self._fetch(tallying.TALLIED, tenant, first, last, limit)
        return [Tally(name, tuple(amounts)) for name, *amounts in rows]

    async def write_all(self) -> None:
        """Do the appends that were asked for, batch by batch, until `close`."""
        while True:
            await self._has_work.acquire()
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
            if batch:
                await self._write(batch)
            elif self._is_closed:
                return

    def close(self) -> None:
        """Take no more; each `write_all` ends when all is done."""
        self._is_closed = True
        for _ in range(WRITERS):
            self._has_work.release()

    async def _write(self, batch: list[Waiting]) -> None:
        batch.sort(key=lambda each: (each[0].tenant, each[0].stream_id))
        appends = [append for append, _ in batch]
        try:
            rows = await self._fetch(_append(appends), self._now(), *arguments(appends))
            outcomes = [_outcome(*each) for each in zip(appends, rows, strict=True)]
            self.measures.committed(len(batch))
        except InvalidArgument as refused:
            if len(batch) > 1:  # One of them has a text that cannot be kept; which is not said.
                for each in batch:
                    await self._write([each])
                return
            outcomes = [refused]
        except ServiceError as failed:
            outcomes = [failed] * len(batch)
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            _settle(future, outcome)

    async def _fetch(self, statement: str, *values: object) -> list[Any]:
        try:
            found: list[Any] = await self._pool.fetch(statement, *values)
        except (asyncpg.DataError, ValueError):
            raise refusals.unkeepable() from None
        except _FAILURES as error:
            raise refusals.unavailable(f"{type(error).__name__}: {error}") from None
        return found

    def _now(self) -> int | None:
        return micros(self._clock()) if self._clock else None


_APPEND: Final = (
    "select * from {}($1, $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bigint[],"
    " $7::int[], $8::text[], $9::bigint[], $10::bytea[], $11::jsonb[], $12::bytea[], $13)"
)


def _append(appends: Sequence[Append]) -> str:
    """Few have tallies: of the others nothing more is asked."""
    has_tallies = any(each.tallies or each.spent for each in appends)
    return _APPEND.format("append_and_tally" if has_tallies else "append_all")


@asynccontextmanager
async def opened(
    dsn: str,
    schema: str,
    *,
    now: Callable[[], datetime] | None = None,
    migrates: bool = True,
) -> AsyncIterator[PostgresEventStore]:
    """The store in this schema of the database, made if it is not there.

    Raises:
        InvalidArgument: `EVENT_STORE_UNSUPPORTED`; the URL is none.
        FailedPrecondition: `EVENT_STORE_NOT_MIGRATED`; somebody else is to bring it up to date.
        Unavailable: `EVENT_STORE_UNAVAILABLE`; the database cannot be reached or used.
    """
    settings = {"search_path": schema, "application_name": f"runplane-{schema}"}
    try:
        pool = await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=MOST_CONNECTIONS,
            command_timeout=10,
            timeout=5,
            server_settings=settings,
        )
        await _migrate(pool, schema, migrates=migrates)
    except ServiceError:
        await pool.close()
        raise
    except ValueError:  # Its words may repeat the password.
        raise refusals.unsupported("is not the URL of a PostgreSQL database") from None
    except _FAILURES as error:
        raise refusals.unavailable(f"{type(error).__name__}: {error}") from None
    async with pool, asyncio.TaskGroup() as group:
        store = PostgresEventStore(pool, bells := Bells(), now, schema)
        for _ in range(WRITERS):
            group.create_task(store.write_all())
        connecting = partial(asyncpg.connect, dsn, timeout=5, server_settings=settings)
        listening = group.create_task(listen_all(connecting, bells))
        try:
            yield store
        finally:
            listening.cancel()
            store.close()


async def _migrate(pool: "asyncpg.Pool[Any]", schema: str, *, migrates: bool) -> None:
    """Bring the schema up to date, or see that somebody has."""
    async with pool.acquire() as connection:
        pending = (await of_schema(connection, schema)).pending
        if pending and not migrates:
            raise refusals.not_migrated(schema, pending)
        if pending:  # Who may not create a schema can still start.
            await apply_to_schema(connection, schema)


def _event(row: Any) -> StoredEvent:
    tenant, stream_id, sequence, position, kind, time, body = row
    return StoredEvent(tenant, stream_id, sequence, position, kind, from_micros(time), body)


def _record(row: Any) -> Record:
    kind, record_id, attributes, body = row
    return Record(kind, record_id, json.loads(attributes), body)


def _outcome(append: Append, row: Any) -> Claim | ServiceError | None:
    verdict, holder, epoch = row
    if verdict == "CLAIM_LOST" and append.claim is not None:
        return refusals.claim_lost(append.claim)
    if verdict == "IDEMPOTENCY_KEY_TAKEN" and append.key is not None:
        return refusals.key_taken(append.key)
    if verdict is not None:
        return refusals.sequence_conflict(append)
    return Claim(append.tenant, append.stream_id, holder, epoch) if holder else None


def _settle(future: "asyncio.Future[Claim | None]", outcome: Claim | ServiceError | None) -> None:
    if future.done():  # Who waited was cancelled.
        return
    if isinstance(outcome, ServiceError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
