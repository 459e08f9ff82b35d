"""One `Append` as statements on a SQLite connection. It looks first, and writes if all is well."""

import json
import sqlite3
from typing import Final

from services.chassis.eventlog import refusals, sqlite_tallies
from services.chassis.eventlog.port import Append, Claim, Key, Work
from services.chassis.eventlog.times import micros, span

_PUT: Final = (
    "insert into work values (?, ?, ?, ?, ?, ?, ?)"
    " on conflict do update set owner = excluded.owner, epoch = epoch + (excluded.owner <> ''),"
    " lease_until = excluded.lease_until, due = excluded.due"
    " where not (? and lease_until > ?) returning owner, epoch"
)
# Where somebody keeps it.
_SHARED: Final = (
    "update work set due = min(due, ?) where tenant = ? and stream_id = ? returning owner, epoch"
)

EXPIRED: Final = (
    "delete from keys where (tenant, scope, key) in"
    " (select tenant, scope, key from keys where expires <= ? order by expires limit 4)"
)


def append(db: sqlite3.Connection, batch: Append, now: int) -> Claim | None:
    """Write all of it. Raises as `EventStore.append`, with nothing written."""
    _check(db, batch, now)
    stream = (batch.tenant, batch.stream_id)
    numbered = enumerate(batch.events, batch.expected + 1)
    db.executemany(
        "insert into events (tenant, stream_id, sequence, type, time, body)"
        " values (?, ?, ?, ?, ?, ?)",
        [(*stream, number, new.type, micros(new.time), new.body) for number, new in numbered],
    )
    if batch.snapshot is not None and batch.events:
        last = batch.expected + len(batch.events)
        db.execute("replace into snapshots values (?, ?, ?, ?)", (*stream, last, batch.snapshot))
    _write_beside(db, batch, now)
    if batch.is_done:
        db.execute("delete from work where tenant = ? and stream_id = ?", stream)
        db.execute("delete from letters where tenant = ? and stream_id = ?", stream)
        return None
    return _put_work(db, batch, batch.work, now) if batch.work else None


def _check(db: sqlite3.Connection, batch: Append, now: int) -> None:
    if (key := batch.key) is not None:
        taken = "select 1 from keys where tenant = ? and scope = ? and key = ? and expires > ?"
        if db.execute(taken, (batch.tenant, key.scope, key.key, now)).fetchone():
            raise refusals.key_taken(key)
    stream = (batch.tenant, batch.stream_id)
    if (claim := batch.claim) is not None:
        held = "select owner, epoch from work where tenant = ? and stream_id = ?"
        if db.execute(held, stream).fetchone() != (claim.owner, claim.epoch):
            raise refusals.claim_lost(claim)
    last = (
        "select sequence from events where tenant = ? and stream_id = ?"
        " order by sequence desc limit 1"
    )
    found = db.execute(last, stream).fetchone()
    if (found[0] if found else 0) != batch.expected:
        raise refusals.sequence_conflict(batch)


def _write_beside(db: sqlite3.Connection, batch: Append, now: int) -> None:
    if batch.answered:
        db.executemany(
            "delete from letters where tenant = ? and stream_id = ? and number = ?",
            [(batch.tenant, batch.stream_id, number) for number in batch.answered],
        )
    for record in batch.records:
        attributes = json.dumps(dict(record.attributes))
        row = (batch.tenant, record.kind, record.id, attributes, record.body)
        db.execute("replace into records values (?, ?, ?, ?, ?)", row)
    for message in batch.outbox:
        db.execute(
            "insert into outbox (topic, key, value, headers) values (?, ?, ?, ?)",
            (message.topic, message.key, message.value, json.dumps(dict(message.headers))),
        )
    if batch.tallies or batch.spent:
        sqlite_tallies.add(db, batch.tenant, batch.tallies, batch.spent)
    if batch.key is not None:
        _put_key(db, batch, batch.key, now)


def _put_key(db: sqlite3.Connection, batch: Append, key: Key, now: int) -> None:
    """Each new key takes some expired ones along, so that they do not gather."""
    db.execute(EXPIRED, (now,))
    row = (batch.tenant, key.scope, key.key, batch.stream_id, key.fingerprint)
    db.execute("replace into keys values (?, ?, ?, ?, ?, ?)", (*row, now + span(key.lasts)))


def _put_work(db: sqlite3.Connection, batch: Append, work: Work, now: int) -> Claim | None:
    """A stream that has letters is wanted at once, whatever its delay."""
    stream = (batch.tenant, batch.stream_id)
    written = "select 1 from letters where tenant = ? and stream_id = ?"
    due = now if db.execute(written, stream).fetchone() else now + span(work.delay)
    until = now + span(work.lease) if work.owner else 0
    row = (*stream, work.kind, work.owner, 1 if work.owner else 0, until, due)
    found = db.execute(_PUT, (*row, work.is_shared, now)).fetchone()
    if found is None:
        found = db.execute(_SHARED, (now, *stream)).fetchone()
    owner, epoch = found
    return Claim(*stream, owner, epoch) if owner else None
