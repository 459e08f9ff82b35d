"""`runplane doctor` as a process."""

import json
import os
import signal
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.e2e.running import Suite, is_alive, outcome, suite, until

KEY = "5" * 64


def looked(*arguments: str, **environment: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """The exit code, and what is no good of each."""
    code, out, err = outcome("doctor", "--quiet", "--json", *arguments, **environment)
    assert out, err
    found: dict[str, list[dict[str, Any]]] = json.loads(out)["findings"]
    return code, found


def test_a_laptop_on_which_nothing_runs_is_well_and_stays_as_it_is(tmp_path: Path) -> None:
    state = tmp_path / "state"

    code, found = looked("--state", str(state), INFERENCE_ENGINE="echo")

    assert code == 0
    assert {each["level"] for findings in found.values() for each in findings} <= {"warning"}
    assert not state.exists()


def test_what_is_wrong_is_told_with_what_to_do() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        environment = {
            "RUNPLANE_PAGE_TOKEN_KEY": KEY,
            "RUNPLANE_HOT_STORE": "redis://127.0.0.1:1",
            "WORKFLOW_SERVER__LISTEN": f"127.0.0.1:{taken.getsockname()[1]}",
            "WORKFLOW_WORKER_LEASE": "3s",
        }
        code, found = looked("--service", "workflow", **environment)

    by_level = {(each["level"], each["check"]) for each in found["workflow"] if each["fix"]}
    assert code == 1
    assert {("error", "port"), ("error", "hot store"), ("warning", "settings")} <= by_level


def test_settings_that_cannot_be_read_are_errors() -> None:
    code, found = looked(
        "--service", "orchestrator", RUNPLANE_PAGE_TOKEN_KEY=KEY, ORCHESTRATOR_TASKS__LEASE="soon"
    )

    messages = [each["message"] for each in found["orchestrator"]]
    assert code == 1
    assert any("ORCHESTRATOR_MARK_KEY" in each for each in messages)
    assert any("ORCHESTRATOR_TASKS__LEASE" in each for each in messages)


def test_a_running_suite_is_well(echo: Suite) -> None:
    code, out, err = outcome("doctor", "--state", str(echo.state))

    assert code == 0, out + err
    assert "workflow is ready" in out


def test_a_process_that_hangs_is_told(tmp_path: Path) -> None:
    with suite(tmp_path, "--engine", "echo") as running:
        pid = running.run["pids"]["workflow"]
        os.kill(pid, signal.SIGSTOP)
        try:
            code, found = looked("--state", str(running.state), "--service", "workflow")
        finally:
            os.kill(pid, signal.SIGCONT)
        until(lambda: is_alive(pid))

    assert code == 1
    assert [each["check"] for each in found["workflow"] if each["level"] == "error"] == ["health"]


def test_asked_for_a_suite_that_does_not_run_it_says_so(tmp_path: Path) -> None:
    code, _, err = outcome("doctor", "--server", "--state", str(tmp_path))

    assert code == 3
    assert "no suite runs" in err


def test_a_state_folder_that_is_a_link_to_nowhere_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").symlink_to(tmp_path / "absent")

    code, found = looked("--state", str(tmp_path / "state"), INFERENCE_ENGINE="echo")

    assert code == 1
    assert [each["check"] for each in found["machine"] if each["level"] == "error"] == ["state"]
    assert not (tmp_path / "absent").exists()
