"""A fingerprint tells trees apart that an image would tell apart."""

import os
from pathlib import Path

import pytest

from tests.images.trees import Tree

DATE = 1_700_000_000


def tree(folder: Path) -> Tree:
    folder.mkdir()
    (folder / "one.py").write_text("1\n")
    (folder / "runplane-0.1.0.dist-info").mkdir()
    for path in [*folder.iterdir(), folder]:
        os.utime(path, (DATE, DATE))
    return Tree(folder)


def rewritten(path: Path) -> None:
    path.write_text("2\n")
    os.utime(path, (DATE, DATE))


def touched(path: Path) -> None:
    os.utime(path, (DATE, DATE + 60))


def opened(path: Path) -> None:
    path.chmod(0o666)


def test_two_trees_alike_have_one_fingerprint(tmp_path: Path) -> None:
    assert tree(tmp_path / "a").fingerprint == tree(tmp_path / "b").fingerprint


@pytest.mark.parametrize("change", [rewritten, touched, opened, Path.unlink])
def test_whatever_changes_a_file_changes_the_fingerprint(change: object, tmp_path: Path) -> None:
    one = tree(tmp_path / "one")
    before = one.fingerprint
    assert callable(change)
    change(one.path / "one.py")

    assert one.fingerprint != before


def test_packages_are_those_with_metadata(tmp_path: Path) -> None:
    assert tree(tmp_path / "one").packages == {"runplane-0.1.0"}


def test_what_is_unlike_is_named(tmp_path: Path) -> None:
    one, other = tree(tmp_path / "one"), tree(tmp_path / "other")
    rewritten(other.path / "one.py")

    assert one.unlike(one) == []
    assert one.unlike(other) == ["one.py"]
