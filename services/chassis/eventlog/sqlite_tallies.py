"""Tallies and holds, as statements on a SQLite connection."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from services.chassis.eventlog.tallies import Amounts, Held, Hold, Tally, is_within

TALLIED: Final = (
    "select name, first, second, third, fourth from tallies"
    " where tenant = ? and name between ? and ? order by name limit ?"
)
_ADD: Final = (
    "insert into tallies values (?, ?, ?, ?, ?, ?) on conflict do update set"
    " first = first + excluded.first, second = second + excluded.second,"
    " third = third + excluded.third, fourth = fourth + excluded.fourth"
)
_SPENT: Final = "delete from holds where tenant = ? and id = ?"
_EXPIRED: Final = "delete from holds where tenant = ? and account = ? and expires <= ?"
_TOTALS: Final = "select total(first), total(second), total(third), total(fourth) from "
_USED: Final = f"{_TOTALS} tallies where tenant = ? and name between ? and ?"
_HELD: Final = f"{_TOTALS} holds where tenant = ? and account = ?"
_HOLD: Final = "insert into holds values (?, ?, ?, ?, ?, ?, ?, ?)"


def add(
    db: sqlite3.Connection, tenant: str, tallies: Sequence[Tally], spent: Sequence[str]
) -> None:
    """Add these up, and let go of what was held for them."""
    if tallies:
        db.executemany(_ADD, [(tenant, each.name, *each.amounts) for each in tallies])
    for hold_id in spent:
        db.execute(_SPENT, (tenant, hold_id))


def hold(db: sqlite3.Connection, tenant: str, asked: Hold, now: int, until: int) -> Held:
    """See `EventStore.hold`."""
    db.execute(_SPENT, (tenant, asked.id))
    for want in asked.wants:
        db.execute(_EXPIRED, (tenant, want.account, now))
    used = [_sum(db, _USED, tenant, want.first, want.last) for want in asked.wants]
    held = [_sum(db, _HELD, tenant, want.account) for want in asked.wants]
    if not all(map(is_within, asked.wants, used, held)):
        return Held(fits=False, used=used, held=held)
    rows = [(tenant, want.account, asked.id, until, *want.amounts) for want in asked.wants]
    db.executemany(_HOLD, rows)
    return Held(fits=True, used=used, held=held)


def _sum(db: sqlite3.Connection, statement: str, *given: str) -> Amounts:
    first, second, third, fourth = db.execute(statement, given).fetchone()
    return first, second, third, fourth
