"""What the SQLite store does with its files."""

import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.chassis.errors import FailedPrecondition, Unavailable
from services.chassis.eventlog.port import Append, NewEvent
from services.chassis.eventlog.sqlite import opened

EVENTS = [NewEvent("began", datetime(2026, 1, 1, tzinfo=UTC), b"x" * 300)]


def _append(number: int) -> Append:
    return Append("acme", f"task_{number}", 0, EVENTS)


async def test_no_commit_makes_the_log_longer(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    log = path.with_name("store.db-wal")
    async with opened(path) as store:
        size = log.stat().st_size
        for number in range(50):
            await store.append(_append(number))
        assert log.stat().st_size == size > 16_000_000


async def test_a_store_opens_with_the_log_of_a_crash(tmp_path: Path) -> None:
    path, copy = tmp_path / "store.db", tmp_path / "copy.db"
    async with opened(path) as store:
        await store.append(_append(1))
        for suffix in ("", "-wal"):  # As they are while the process runs: what a crash leaves.
            shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
    async with opened(copy) as store:
        kept = await store.read("acme", "task_1", limit=10)
        await store.append(_append(2))
    assert [event.body for event in kept] == [b"x" * 300]


async def test_a_second_process_is_told_that_the_store_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path):
        with pytest.raises(FailedPrecondition) as refused:
            async with opened(path):
                pass
    assert refused.value.reason == "EVENT_STORE_IN_USE"
    assert str(path) in refused.value.message


@pytest.mark.parametrize("content", [b"no database at all" * 100, None])
async def test_what_is_no_store_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "store.db"
    if content is not None:
        path.write_bytes(content)
    else:  # Another program's database, with a table of a name that the store needs.
        sqlite3.connect(path).execute("create table events (a)").connection.close()
    with pytest.raises(Unavailable) as refused:
        async with opened(path):
            pass
    assert refused.value.reason == "EVENT_STORE_UNAVAILABLE"
    assert str(path) in refused.value.message
