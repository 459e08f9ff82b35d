"""`runplane invoke` as a process, against a running suite."""

import json
import signal
from pathlib import Path

import httpx2

from tests.e2e.running import Suite, command, outcome, until
from tests.servers.ports import free

CALLS = 'tool:calculator {"expression": "12*7"}\n12 times 7 is 84.'


def invoke(echo: Suite, *arguments: str, given: str = "") -> tuple[int, str, str]:
    """`runplane invoke` of that suite, found by its folder."""
    return outcome("invoke", "--state", str(echo.state), *arguments, given=given)


def test_it_shows_thoughts_calls_results_and_the_answer(echo: Suite) -> None:
    code, out, err = invoke(echo, CALLS)

    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[1] == '→ calculator {"expression": "12*7"}'
    assert lines[2].startswith('← calculator {"value": 84} (')
    assert lines[4] == "12 times 7 is 84."
    assert lines[5].startswith("completed in ")


def test_json_shows_the_events_as_they_are(echo: Suite) -> None:
    code, out, _ = invoke(echo, "--json", CALLS)

    events = [json.loads(line) for line in out.splitlines()]
    path = f"{echo.url}{events[0]['watch']}"
    watched = httpx2.get(path, headers={"Accept": "application/x-ndjson"}).text
    assert (code, out) == (0, watched)


def test_a_dash_reads_the_query_from_standard_input(echo: Suite) -> None:
    code, out, _ = invoke(echo, "-", given="Hello from a pipe")

    assert code == 0
    assert "Hello from a pipe" in out.splitlines()


def test_a_schema_binds_the_answer(echo: Suite, tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text('{"type": "object", "properties": {"a": {"const": 5}}, "required": ["a"]}')

    code, out, _ = invoke(echo, "--json", "--schema", str(path), "Hello")

    final = next(event for event in map(json.loads, out.splitlines()) if "answer" in event)
    assert (code, final["output"]) == (0, {"a": 5})


def test_a_schema_that_is_no_json_is_a_usage_error(echo: Suite, tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text("{")

    code, out, err = invoke(echo, "--schema", str(path), "Hello")

    assert (code, out) == (2, "")
    assert "Traceback" not in err


def test_the_tools_it_may_call_can_be_named(echo: Suite) -> None:
    code, out, _ = invoke(echo, "--json", "--tool", "current_time", "--tool", "calculator", "Hi")

    request = json.loads(out.splitlines()[0])["request"]
    assert (code, request["tools"]) == (0, ["current_time", "calculator"])


def test_a_task_that_fails_is_exit_code_1(echo: Suite) -> None:
    code, out, err = invoke(echo, "fail")

    assert (code, err) == (1, "")
    assert any(line.startswith("failed: ") for line in out.splitlines())


def test_a_refused_query_is_one_line_and_exit_code_1(echo: Suite) -> None:
    code, out, err = invoke(echo, "--model", "nope", "Hello")

    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("refused: ")


def test_a_timeout_ends_it_with_exit_code_1(echo: Suite) -> None:
    code, out, _ = invoke(echo, "--json", "--timeout", "0.2", "sleep:60000\nnever")

    last = json.loads(out.splitlines()[-1])
    assert (code, last["error"]["error_code"]) == (1, "TASK_TIMEOUT")


def test_without_a_suite_it_says_how_to_start_one(tmp_path: Path) -> None:
    port = free()
    code, out, err = outcome(
        "invoke", "Hello", RUNPLANE_URL=f"http://127.0.0.1:{port}", HOME=str(tmp_path)
    )

    assert (code, out) == (3, "")
    assert len(err.splitlines()) == 1
    assert "runplane up" in err


def test_a_url_that_is_none_is_one_line(tmp_path: Path) -> None:
    code, _, err = outcome("invoke", "--url", "nonsense", "--state", str(tmp_path), "Hello")

    assert code in {2, 3}
    assert "Traceback" not in err


def test_ctrl_c_cancels_the_task(echo: Suite) -> None:
    process = command("invoke", "--json", "--state", str(echo.state), "sleep:60000\nnever")
    assert process.stdout
    with process:
        first = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)

    task = f"{echo.url}/v1/tasks/{first['task_id']}"
    assert process.returncode == 130
    assert b"Traceback" not in err
    until(lambda: httpx2.get(task).json()["status"] == "canceled")


def test_a_reader_that_leaves_is_no_error(echo: Suite) -> None:
    with command("invoke", "--json", "--state", str(echo.state), "tokens:200000") as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()

    assert b"Traceback" not in err


def test_help_names_the_commands() -> None:
    code, out, _ = outcome("--help")

    assert code == 0
    assert all(name in out for name in ("up", "invoke", "demo"))


def test_a_demo_asks_and_ends(tmp_path: Path) -> None:
    code, out, err = outcome("demo", "--engine", "echo", TMPDIR=str(tmp_path))

    assert (code, err) == (0, "")
    assert out.count("completed in ") == 3
    assert "← weather__weather_query" in out
    assert list(tmp_path.iterdir()) == []
