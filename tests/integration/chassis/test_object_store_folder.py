"""What a folder of large values looks like, and what becomes of it when the disk fails."""

import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from services.chassis.errors import FailedPrecondition, Unavailable
from services.chassis.objectstore import folder
from services.chassis.objectstore.names import parts

BODY = b"x" * 100_000


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


async def test_the_same_value_is_one_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    store = folder.opened(tmp_path / "made" / "here")
    reference = await store.put("default", BODY)
    await store.put("default", BODY)

    (found,) = files(tmp_path)
    assert found == (tmp_path / "made" / "here").joinpath(*parts("default", reference))
    assert stat.S_IMODE(found.stat().st_mode) == 0o600


async def test_no_tenant_leaves_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "objects"
    store = folder.opened(root)
    for tenant in ("..", "../..", "/etc", ".", "", "a/b", "unfinished", "é" * 300, "\udcff"):
        await store.put(tenant, BODY)

    assert len(files(root)) == len(files(tmp_path)) == 9
    assert not files(root / "unfinished")


async def test_what_a_crash_left_unfinished_is_cleared_away_later(tmp_path: Path) -> None:
    folder.opened(tmp_path)
    old, fresh = tmp_path / "unfinished" / "old", tmp_path / "unfinished" / "fresh"
    for path in (old, fresh):
        path.write_bytes(b"half")
    past = old.stat().st_mtime - timedelta(hours=2).total_seconds()
    os.utime(old, (past, past))
    folder.opened(tmp_path)

    assert files(tmp_path) == [fresh]


async def test_a_value_that_was_spoilt_in_place_is_repaired_by_putting_it_again(
    tmp_path: Path,
) -> None:
    store = folder.opened(tmp_path)
    reference = await store.put("default", BODY)
    tmp_path.joinpath(*parts("default", reference)).write_bytes(b"y" * len(BODY))
    await store.put("default", BODY)

    assert await store.get("default", reference) == BODY


async def test_a_folder_that_went_away_is_unavailable_and_says_why(tmp_path: Path) -> None:
    store = folder.opened(tmp_path / "objects")
    (tmp_path / "objects" / "unfinished").rmdir()

    with pytest.raises(Unavailable) as caught:
        await store.put("default", BODY)

    assert caught.value.reason == "OBJECT_STORE_UNAVAILABLE"
    assert "No such file or directory" in caught.value.message


def test_what_is_no_folder_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(FailedPrecondition) as caught:
        folder.opened(tmp_path / "file")

    assert caught.value.reason == "OBJECT_STORE_UNUSABLE"
