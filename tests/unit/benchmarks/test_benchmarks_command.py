import pytest

from benchmarks.__main__ import main
from benchmarks.rows import ROWS


def test_help_names_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ROWS)


def test_an_unknown_row_is_refused_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--rows", "invoke-64"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "invoke-64" in said
    assert "invoke-32" in said
