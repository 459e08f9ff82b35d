"""`runplane invoke` where a tool asks or a call waits, with and without a terminal."""

import os
import pty
import select
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from tests.e2e.running import PLAIN, RUNPLANE, Suite, command

SERVER = Path(__file__).parents[3] / "examples" / "asking" / "server.py"
REMOVE = 'tool:asking__remove {"path": "/x"}\nDone.'


@pytest.fixture(scope="module")
def asking(echo: Suite) -> Suite:
    """The suite, with a server whose tool asks and a tool whose calls need an approval."""
    run = {"program": sys.executable, "arguments": [str(SERVER)]}
    reply = httpx2.post(
        f"{echo.url}/v1/mcp-servers", json={"namespace": "asking", "command": run}, timeout=20
    )
    assert reply.json()["state"] == "MCP_SERVER_STATE_CONNECTED", reply.text
    door = {"name": "door", "description": "Opens a door.", "client": {}, "requires_approval": True}
    reply = httpx2.post(f"{echo.url}/v1/tools", json=door, timeout=20)
    assert reply.status_code == 200, reply.text
    return echo


def in_terminal(suite: Suite, query: str, answers: dict[str, str]) -> tuple[int, str]:
    """`runplane invoke` in a terminal, in which somebody types an answer to each question."""
    ours, theirs = pty.openpty()
    line = [RUNPLANE, "invoke", "--state", str(suite.state), query]
    process = subprocess.Popen(line, env=PLAIN, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = ""

    def reads(*, until_holds: Callable[[], bool]) -> None:
        nonlocal said
        while not until_holds():
            assert select.select([ours], [], [], 20)[0], said
            said += os.read(ours, 65_536).decode()

    try:
        for question, answer in answers.items():
            reads(until_holds=lambda wanted=question: wanted in said)  # type: ignore[misc]
            os.write(ours, f"{answer}\n".encode())
        reads(until_holds=lambda: " tokens, task_" in said)
        return process.wait(timeout=10), said
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.mark.parametrize(
    ("query", "label", "result"),
    [
        (REMOVE, "  answer: ", "← asking__remove "),
        (REMOVE, "  decline: ", "✗ asking__remove: "),
        ("tool:door {}\nDone.", "  no: ", "✗ door: "),
    ],
)
def test_the_command_that_is_shown_lets_the_task_go_on(
    asking: Suite, query: str, label: str, result: str
) -> None:
    process = command("invoke", "--state", str(asking.state), query)
    assert process.stdout
    with process:
        line = ""
        while not line.startswith(label):
            line = process.stdout.readline().decode()
            assert line, "it ended without saying how to answer"
        subprocess.run(shlex.split(line.removeprefix(label)), check=True, capture_output=True)
        rest, _ = process.communicate(timeout=20)

    assert process.returncode == 0
    assert any(each.startswith(result) for each in rest.decode().splitlines())


def test_whoever_sits_at_a_terminal_is_asked_field_by_field(asking: Suite) -> None:
    answers = {
        "answer it? [Y/n]: ": "y",
        "Whether it is to be removed.: ": "yes",
        "How many days that stays. [30]: ": "many",
        "'many' is not a valid integer": "3",
        "What stays. [a copy]: ": "",
    }

    code, said = in_terminal(asking, REMOVE, answers)

    assert code == 0
    assert "/x is removed, and a copy stays 3 days" in said
    assert "curl" not in said


def test_whoever_sits_at_a_terminal_can_decline(asking: Suite) -> None:
    code, said = in_terminal(asking, REMOVE, {"answer it?": "n"})

    assert code == 0
    assert "✗" in said


def test_whoever_sits_at_a_terminal_can_deny_a_call(asking: Suite) -> None:
    code, said = in_terminal(asking, "tool:door {}\nDone.", {"allow it?": "n"})

    assert code == 0
    assert "door: denied" in said
