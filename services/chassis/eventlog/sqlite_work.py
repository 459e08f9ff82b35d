"""Who works on what, as statements on a SQLite connection: claims and letters."""

import json
import sqlite3
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from services.chassis.eventlog import refusals
from services.chassis.eventlog.port import Claim, Letter

FREE: Final = (
    "select tenant, stream_id from work"
    " where kind = ? and due <= ? and lease_until <= ? order by due limit ?"
)
NEXT_DUE: Final = "select due from work where kind = ? and lease_until <= ? order by due limit 1"
COUNTED: Final = "select count(*) from work where kind = ? and due <= ? and lease_until <= ?"
LETTERS: Final = (
    "select tenant, stream_id, number, letters.kind, body"
    " from work join letters using (tenant, stream_id)"
    " where owner = ? and ? in ('', stream_id)"
    " and number not in (select value from json_each(?)) order by number"
)
_GIVEN: Final = "update work set owner = ?, epoch = epoch + 1, lease_until = ?"
_TAKEN_UP: Final = (
    f"{_GIVEN} where (tenant, stream_id) in ({FREE}) returning tenant, stream_id, owner, epoch, due"
)
_TAKEN: Final = f"{_GIVEN} where tenant = ? and stream_id = ? and lease_until <= ? returning epoch"


class Lease(NamedTuple):
    """Who is to have what, from when until when."""

    owner: str
    now: int
    until: int


def claim(db: sqlite3.Connection, kind: str, lease: Lease, limit: int) -> Sequence[Claim]:
    """See `EventStore.claim`."""
    owner, now, until = lease
    rows = db.execute(_TAKEN_UP, (owner, until, kind, now, now, limit)).fetchall()
    return [Claim(*row[:4]) for row in sorted(rows, key=lambda row: row[4])]


def take(db: sqlite3.Connection, stream: tuple[str, str], lease: Lease) -> Claim | None:
    """See `EventStore.take`."""
    owner, now, until = lease
    row = db.execute(_TAKEN, (owner, until, *stream, now)).fetchone()
    return Claim(*stream, owner, row[0]) if row else None


def renew(db: sqlite3.Connection, owner: str, until: int) -> Sequence[Claim]:
    """See `EventStore.renew`."""
    renewed = (
        "update work set lease_until = ? where owner = ? returning tenant, stream_id, owner, epoch"
    )
    return [Claim(*row) for row in db.execute(renewed, (until, owner)).fetchall()]


def release(db: sqlite3.Connection, claims: Sequence[Claim]) -> None:
    """See `EventStore.release`."""
    released = (
        "update work set owner = '', lease_until = 0"
        " where tenant = ? and stream_id = ? and owner = ? and epoch = ?"
    )
    rows = [(each.tenant, each.stream_id, each.owner, each.epoch) for each in claims]
    db.executemany(released, rows)


def send(db: sqlite3.Connection, letter: Letter, *, most: int, now: int) -> str | None:
    """See `EventStore.send`. The letter gets its number here."""
    stream = (letter.tenant, letter.stream_id)
    counted = "select count(*) from letters where tenant = ? and stream_id = ?"
    if db.execute(counted, stream).fetchone()[0] >= most:
        raise refusals.inbox_full(letter.stream_id, most)
    woken = (
        "update work set due = min(due, ?) where tenant = ? and stream_id = ?"
        " returning owner, lease_until"
    )
    found = db.execute(woken, (now, *stream)).fetchone()
    if found is None:
        return None
    put = "insert into letters (tenant, stream_id, kind, body) values (?, ?, ?, ?)"
    db.execute(put, (*stream, letter.kind, letter.body))
    return str(found[0]) if found[1] > now else ""


def letters_of(owner: str, stream_id: str, known: Collection[int]) -> tuple[Any, ...]:
    """What `LETTERS` is given."""
    return owner, stream_id, json.dumps(list(known))
