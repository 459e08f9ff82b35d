"""What `--help` says."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from services.cli.main import main


def groups(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    """The command's groups, by their words."""
    yield path
    for name, each in group.commands.items():
        if isinstance(each, click.Group):
            yield from groups(each, *path, name)


@pytest.mark.parametrize("path", list(groups(main)), ids=" ".join)
def test_what_a_command_does_is_said_whole_in_a_terminal_of_80_columns(
    path: tuple[str, ...],
) -> None:
    shown = CliRunner().invoke(main, [*path, "--help"], terminal_width=80)

    lines = shown.output.partition("Commands:")[2].splitlines()
    assert len(lines) > 2
    assert [line for line in lines if line.endswith("...")] == []
