"""The state folder."""

import json
import os
from pathlib import Path

import click
import pytest

from services.chassis.settings import SharedSettings
from services.cli.state import StateFolder


def test_a_folder_is_made_when_it_is_held(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "deep" / "state")
    with folder.held():
        assert folder.logs.is_dir()


def test_a_held_folder_cannot_be_held_again(tmp_path: Path) -> None:
    with StateFolder(tmp_path).held(), pytest.raises(click.ClickException):  # noqa: SIM117
        with StateFolder(tmp_path).held():
            raise AssertionError("held twice")


def test_a_folder_can_be_held_after_it_was_let_go(tmp_path: Path) -> None:
    for _ in range(2):
        with StateFolder(tmp_path).held():
            assert (tmp_path / "lock").exists()


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(click.ClickException), StateFolder(tmp_path / "file").held():
        raise AssertionError("held a file")


def test_a_key_is_made_once_and_read_by_its_owner_alone(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    key = folder.key("some")

    assert len(bytes.fromhex(key)) == 32
    assert StateFolder(tmp_path).key("some") == key
    assert folder.key("other") != key
    assert (tmp_path / "keys" / "some").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


def test_a_suite_that_announced_itself_is_found(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    with folder.held():
        folder.announce({"url": "http://127.0.0.1:1"})
        found = StateFolder(tmp_path).url()

    assert found == "http://127.0.0.1:1"
    assert folder.url() is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '"x"', "[" * 100_000, '{"url": 1}'])
def test_a_torn_announcement_is_no_suite(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)

    assert StateFolder(tmp_path).url() is None


def test_an_announcement_can_be_read_at_any_moment(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    for number in range(3):
        folder.announce({"url": str(number)})

    assert json.loads((tmp_path / "run.json").read_text()) == {"url": "2"}
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_large_values_are_kept_in_the_folder_whatever_it_is_called(tmp_path: Path) -> None:
    url = StateFolder(tmp_path / "a state").object_store

    assert SharedSettings(page_token_key="00" * 32, object_store=url).object_store == url
    assert url == f"file://{tmp_path}/a%20state/objects"


def test_an_announcement_that_is_a_pipe_is_no_suite(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run.json")

    assert StateFolder(tmp_path).url() is None


def test_an_announcement_that_is_a_folder_is_no_suite_and_stays_open_nowhere(
    tmp_path: Path,
) -> None:
    (tmp_path / "run.json").mkdir()
    folder, before = StateFolder(tmp_path), len(os.listdir("/proc/self/fd"))

    found = [folder.run() for _ in range(8)]

    assert found == [{}] * 8
    assert len(os.listdir("/proc/self/fd")) == before
