"""Ports that tests hold: nobody else is given them, by the system or by another test."""

import socket
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest

from services.cli.ports import is_free
from tests.servers import ports
from tests.servers.ports import HOST, beyond_the_systems, reserved

ROOT = Path(__file__).parents[3]
HOLDING = "from tests.servers.ports import free; print(free(3), flush=True); input()"
MANY = 100


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> range:
    """Let there be no more than these, which were free a moment ago."""
    with reserved(6) as first:
        few = range(first, first + 6)
    monkeypatch.setattr(ports, "beyond_the_systems", lambda: few)
    return few


def test_a_server_that_names_a_held_port_listens_there_again_and_again() -> None:
    with reserved(2) as first:
        for _ in range(3):
            with socket.create_server((HOST, first + 1)) as server:
                given = server.getsockname()[1]

        assert (given, is_free(HOST, given)) == (first + 1, True)


def test_the_system_gives_no_such_port_to_a_server_that_names_none() -> None:
    given = set()
    for _ in range(MANY):
        with socket.create_server((HOST, 0)) as server:
            given.add(server.getsockname()[1])

    assert given.isdisjoint(beyond_the_systems())


def test_a_held_port_is_nobody_elses_of_this_process(narrow: range) -> None:
    with reserved(3) as one, reserved(1) as other:
        assert other not in range(one, one + 3)
        with pytest.raises(OSError, match="are free"), reserved(6):
            pass


def test_a_port_held_by_another_process_is_given_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING], cwd=ROOT, stdin=PIPE, stdout=PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        held = int(holder.stdout.readline())
        monkeypatch.setattr(ports, "beyond_the_systems", lambda: range(held, held + 3))

        with pytest.raises(OSError, match="are free"), reserved(1):
            pass
        holder.kill()

    with reserved(3) as first:
        assert first == held


def test_a_port_that_somebody_listens_on_is_not_given(narrow: range) -> None:
    with socket.create_server((HOST, narrow[2])):
        with pytest.raises(OSError, match="are free"), reserved(4):
            pass
        with reserved(3) as first:
            pass

    assert first == narrow[3]


def test_ports_are_free_again_when_they_are_left(narrow: range) -> None:
    with reserved(6) as first:
        pass
    with reserved(6) as again:
        pass

    assert (first, again) == (narrow[0], narrow[0])
