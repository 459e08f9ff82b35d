"""`runplane invoke` where a tool asks or a call waits, with and without a terminal."""

import json
import os
import pty
import select
import shlex
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.e2e.running import PLAIN, RUNPLANE, Suite, command, outcome

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


def in_terminal(
    suite: Suite, query: str, answers: dict[str, str], *options: str
) -> tuple[int, str]:
    """`runplane invoke` in a terminal, in which somebody types an answer to each question."""
    line = ["invoke", "--state", str(suite.state), *options, query]
    return typed(line, answers)


def typed(arguments: list[str], answers: dict[str, str]) -> tuple[int, str]:
    """A command in a terminal, to its end."""
    ours, theirs = pty.openpty()
    line = [RUNPLANE, *arguments]
    process = subprocess.Popen(line, env=PLAIN, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = ""
    try:
        for question, answer in answers.items():
            while question not in said:
                said += read(ours) or pytest.fail(f"{question!r} is not in {said}")
            os.write(ours, f"{answer}\n".encode())
        while more := read(ours):
            said += more
        return process.wait(timeout=10), said
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read(terminal: int) -> str:
    """What is shown next; nothing at the end."""
    assert select.select([terminal], [], [], 20)[0], "it says nothing more, and does not end"
    try:
        return os.read(terminal, 65_536).decode()
    except OSError:  # So Linux says that nobody is on the other side any more.
        return ""


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


@pytest.fixture(scope="module")
def guarded(asking: Suite) -> Suite:
    """The same, with an agent that calls another whose tools need approvals."""
    for agent in (
        {"agent_id": "keeper", "tools": ["door"], "approval_tools": ["*"]},
        {"agent_id": "host", "tools": ["agent__keeper"]},
    ):
        reply = httpx2.post(f"{asking.url}/v1/agents", json=agent, timeout=20)
        assert reply.status_code == 200, reply.text
    return asking


def asks(agent: str, query: str) -> str:
    return f"tool:agent__{agent} {json.dumps({'query': query})}\nDone."


KEEPER = asks("keeper", "tool:door {}\nOpen.")


@pytest.mark.parametrize(
    ("tool", "query"), [("agent__keeper", KEEPER), ("agent__host", asks("host", KEEPER))]
)
def test_what_an_agent_that_is_called_waits_for_is_asked_too(
    guarded: Suite, tool: str, query: str
) -> None:
    code, said = in_terminal(guarded, query, {"allow it?": "n"}, "--tool", tool)

    assert code == 0
    assert "? may door be called?" in said
    assert " is waiting" in said
    assert " is running" in said


def test_a_tool_that_is_called_by_itself_asks_too(asking: Suite) -> None:
    line = ["tools", "call", "--state", str(asking.state), "asking__remove", '{"path": "/x"}']
    answers = {"answer it?": "y", "removed.: ": "yes", "stays. [30]: ": "3", "[a copy]: ": ""}

    code, said = typed(line, answers)

    assert code == 0
    assert "? asking__remove asks: Remove /x?" in said
    assert said.rstrip().endswith('stays 3 days"}')


def test_a_tool_that_is_called_by_itself_can_be_declined(asking: Suite) -> None:
    line = ["tools", "call", "--state", str(asking.state), "asking__remove", '{"path": "/x"}']

    code, said = typed(line, {"answer it?": "n"})

    assert code == 1
    assert "TOOL_" in said


def test_a_tool_that_cannot_ask_says_so(asking: Suite) -> None:
    line = ["tools", "call", "--state", str(asking.state), "asking__remove", '{"path": "/x"}']

    code, out, err = outcome(*line)

    assert (code, out) == (1, "")
    assert "elicitation" in err
