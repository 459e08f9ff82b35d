"""What `up` prints of its children."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.cli.display import Display

NAMES = ["gateway", "inference"]


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[Display]:
    """As it is without a flag."""
    display = Display(NAMES, tmp_path, verbose=False)
    yield display
    display.close()


@pytest.fixture
def verbose(tmp_path: Path) -> Iterator[Display]:
    """As it is with `--verbose`."""
    display = Display(NAMES, tmp_path, verbose=True)
    yield display
    display.close()


def record(level: str = "info", **facts: object) -> str:
    """A line that a service logs."""
    return json.dumps({"time": "t", "level": level, "message": "serving", "service": "x", **facts})


def test_information_is_hidden(quiet: Display, capsys: pytest.CaptureFixture[str]) -> None:
    quiet.line("gateway", record("info"))

    assert capsys.readouterr().out == ""


def test_information_is_shown_when_asked_for(
    verbose: Display, capsys: pytest.CaptureFixture[str]
) -> None:
    verbose.line("gateway", record("info", address="127.0.0.1:1"))

    assert capsys.readouterr().out == "gateway    info: serving address=127.0.0.1:1\n"


@pytest.mark.parametrize("level", ["warning", "error", "critical"])
def test_what_matters_is_shown(
    quiet: Display, capsys: pytest.CaptureFixture[str], level: str
) -> None:
    quiet.line("inference", record(level, reason="X"))

    assert capsys.readouterr().out == f"inference  {level}: serving reason=X\n"


@pytest.mark.parametrize(
    "raw",
    [
        record("error", reason="\x1b[2J\x9b31m\x07red\rover"),
        record("error", reason="two\nlines"),
        record("error", reason="half a pair \ud800"),
        record("error", exception="\x1b]0;title\x07"),
        record("error", exception={"a": 1}),
        record("error") + "\x1b[2J",
        "\x1b[2J no JSON",
        '{"message": ["\x1b[2J"], "level": "error"}',
    ],
)
def test_what_a_child_writes_steers_no_terminal(
    quiet: Display, capsys: pytest.CaptureFixture[str], raw: str
) -> None:
    quiet.line("gateway", raw)

    out = capsys.readouterr().out
    assert out.count("\n") <= 2
    assert out.replace("\n", "").isprintable()


def test_a_traceback_is_shown_below(quiet: Display, capsys: pytest.CaptureFixture[str]) -> None:
    quiet.line("inference", record("error", exception="Traceback …\nValueError: x"))

    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["Traceback …", "ValueError: x"]


@pytest.mark.parametrize("raw", ["Segmentation fault", "{", "[1]", '{"a": 1}', '"text"', "5"])
def test_a_line_that_is_no_record_is_shown_as_it_is(
    quiet: Display, capsys: pytest.CaptureFixture[str], raw: str
) -> None:
    quiet.line("gateway", raw)

    assert capsys.readouterr().out == f"gateway    {raw}\n"


def test_every_line_is_kept_in_a_file(quiet: Display, tmp_path: Path) -> None:
    lines = [record("info"), "100 % of it", record("error")]
    for line in lines:
        quiet.line("gateway", line)

    assert (tmp_path / "gateway.jsonl").read_text().splitlines() == lines
    assert (tmp_path / "inference.jsonl").read_text() == ""
