"""`runplane config` as a process."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import Suite, outcome

KEY = "5" * 64


def settings(*arguments: str, **environment: str) -> dict[str, dict[str, Any]]:
    """What the one service that is asked for says of itself, by name."""
    code, out, err = outcome("config", "--json", *arguments, **environment)
    assert code == 0, err
    (said,) = json.loads(out)["services"].values()
    return {row["name"]: row for row in said["settings"]}


def test_a_laptop_is_shown_what_up_would_tell_and_nothing_is_made(tmp_path: Path) -> None:
    state = tmp_path / "state"

    found = settings("--service", "workflow", "--state", str(state))

    assert found["RUNPLANE_EVENT_STORE"]["value"] == f"sqlite:///{state / 'data'}"
    assert found["RUNPLANE_EVENT_STORE"]["source"] == "runplane up"
    assert found["RUNPLANE_PAGE_TOKEN_KEY"]["value"] == "…"
    assert not state.exists()


def test_where_the_key_is_set_the_environment_alone_counts() -> None:
    found = settings("--service", "workflow", "--changed", RUNPLANE_PAGE_TOKEN_KEY=KEY)

    assert list(found) == ["RUNPLANE_PAGE_TOKEN_KEY"]
    assert found["RUNPLANE_PAGE_TOKEN_KEY"]["source"] == "environment"


def test_a_running_suite_is_shown_as_it_runs(echo: Suite) -> None:
    found = settings(
        "--service", "inference", "--state", str(echo.state), INFERENCE_ECHO__SLOTS="7"
    )

    assert found["INFERENCE_ECHO__SLOTS"]["source"] == "default"  # It runs without that.
    assert found["INFERENCE_ENGINE"]["value"] == "echo"
    assert found["INFERENCE_ENGINE"]["source"] == "runplane up"
    assert found["INFERENCE_SERVER__LISTEN"]["value"] == echo.run["grpc"]["inference"]


def test_passwords_are_in_no_output() -> None:
    url = "postgresql://me:hunter2@127.0.0.1:1/db"
    environment = {"RUNPLANE_EVENT_STORE": url, "RUNPLANE_KAFKA_PASSWORD": "hunter2"}

    _, out, err = outcome("config", RUNPLANE_PAGE_TOKEN_KEY=KEY, **environment)

    assert "hunter2" not in out + err
    assert "postgresql://me:…@127.0.0.1:1/db" in out


def test_wrong_and_unknown_settings_are_told() -> None:
    environment = {"INFERENCE_ECHO__SLOTS": "many", "INFERENCE_ECHO_DELAY": "1s"}

    code, _, err = outcome("config", "--service", "inference", **environment)

    assert code == 1
    assert "INFERENCE_ECHO__SLOTS" in err
    assert "did you mean INFERENCE_ECHO__DELAY?" in err


@pytest.mark.parametrize("pid", [os.getpid(), "1", 1e999, None], ids=["own", "text", "inf", "none"])
def test_what_an_older_run_left_is_not_taken_for_a_running_suite(
    tmp_path: Path, pid: object
) -> None:
    names = ("gateway", "inference", "tool_registry", "orchestrator", "workflow")
    (tmp_path / "run.json").write_text(json.dumps({"pids": dict.fromkeys(names, pid)}))

    found = settings("--service", "workflow", "--state", str(tmp_path))

    assert found["RUNPLANE_EVENT_STORE"]["value"] == f"sqlite:///{tmp_path / 'data'}"


def test_who_waits_at_a_terminal_is_told_what_for() -> None:
    seen, terminal = pty.openpty()
    command = [sys.executable, "-m", "services.cli", "config", "--service", "gateway"]
    try:
        shown = subprocess.run(command, stderr=terminal, stdout=subprocess.PIPE, check=True).stdout
    finally:
        os.close(terminal)
    with open(seen, "rb", buffering=0) as screen:
        told = screen.read(1_000).decode()

    assert told.splitlines() == ["asking 1 service …"]
    assert b"asking" not in shown
