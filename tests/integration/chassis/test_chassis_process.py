"""A service as a process: signals, exit codes, and what is said when it cannot start."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from runplane.tool_registry.v1 import tool_registry_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as pb_grpc

from services.chassis.http import address_of

ROOT = Path(__file__).parents[3]
COMMAND = (sys.executable, "-m", "tests.integration.chassis.process_under_test")
ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if not key.startswith("RUNPLANE_")},
    "PYTHONPATH": f"{ROOT}:{ROOT / 'protos' / 'gen'}",
    "RUNPLANE_PAGE_TOKEN_KEY": "0" * 64,
}


@asynccontextmanager
async def process(**environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The service, killed if it is still there in the end."""
    child = await asyncio.create_subprocess_exec(
        *COMMAND, env=ENVIRONMENT | environment, stderr=asyncio.subprocess.PIPE, cwd=ROOT
    )
    try:
        async with asyncio.timeout(20):
            yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def outcome(**environment: str) -> tuple[int | None, list[str]]:
    """How a start ends: the exit code and the lines on standard error."""
    async with process(**environment) as child:
        _, said = await child.communicate()
    return child.returncode, said.decode().splitlines()


@pytest.mark.parametrize(
    ("environment", "policy"),
    [({}, "SCHED_BATCH"), ({"RUNPLANE_SCHEDULING": "normal"}, "SCHED_OTHER")],
)
async def test_it_runs_in_batches_unless_told_otherwise(
    environment: dict[str, str], policy: str
) -> None:
    async with process(**environment) as child:
        assert child.stderr
        await child.stderr.readline()

        assert os.sched_getscheduler(child.pid) == getattr(os, policy)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_it_with_exit_code_0(number: signal.Signals) -> None:
    async with process() as child:
        assert child.stderr
        first = json.loads(await child.stderr.readline())
        async with grpc.aio.insecure_channel(first["address"]) as peer:
            tool = await pb_grpc.ToolRegistryServiceStub(peer).GetTool(pb.GetToolRequest(name="a"))
        child.send_signal(number)
        _, rest = await child.communicate()

    messages = [json.loads(line)["message"] for line in rest.decode().splitlines()]
    assert tool.name == "a"
    assert (first["message"], first["service"]) == ("serving", "tester")
    assert (child.returncode, messages) == (0, ["stopping", "stopped"])


async def test_a_signal_ends_a_start_that_cannot_be_interrupted() -> None:
    async with process(TESTER_LOADING_SECONDS="60") as child:
        assert child.stderr
        first = await child.stderr.readline()
        child.send_signal(signal.SIGTERM)
        _, rest = await child.communicate()

    messages = [json.loads(line)["message"] for line in rest.decode().splitlines()]
    assert first == b"loading\n"
    assert (child.returncode, messages) == (0, ["stopping before it serves", "stopped"])


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TESTER_SERVER__GRACE", "soon"),
        ("TESTER_SERVER__MAX_MESSAGE_BYTES", "1"),
        ("TESTER_SERVER", "not json"),
        ("TESTER_SLOTS", "5"),
        ("RUNPLANE_LOG__LEVEL", "loud"),
        ("RUNPLANE_EVENT_STORE", "nosuch:"),
    ],
)
async def test_a_bad_setting_is_one_line_that_names_the_variable(variable: str, value: str) -> None:
    code, lines = await outcome(**{variable: value})

    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith(f"tester: {variable}: ")


async def test_json_that_is_nested_too_deeply_is_one_line() -> None:
    code, lines = await outcome(TESTER_SERVER="[" * 100_000)

    assert (code, lines) == (2, ["tester: a setting holds JSON that is nested too deeply"])


async def test_what_a_check_of_ours_says_stands_there_alone() -> None:
    _, lines = await outcome(RUNPLANE_EVENT_STORE="nosuch:")

    assert lines == [
        "tester: RUNPLANE_EVENT_STORE: is not memory:, sqlite:///DIR or postgresql://…"
    ]


async def test_a_missing_secret_is_one_line_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(ENVIRONMENT, "RUNPLANE_PAGE_TOKEN_KEY")
    code, lines = await outcome()

    assert (code, lines) == (2, ["tester: RUNPLANE_PAGE_TOKEN_KEY: is not set"])


async def test_all_bad_settings_are_named_at_once() -> None:
    code, lines = await outcome(TESTER_SLOTS="5", TESTER_SERVER__GRACE="soon")

    assert code == 2
    assert len(lines) == 1
    assert "TESTER_SLOTS" in lines[0]
    assert "TESTER_SERVER__GRACE" in lines[0]


@pytest.mark.parametrize("port", ["TESTER_SERVER__LISTEN", "TESTER_SERVER__ADMIN"])
async def test_a_taken_port_is_one_line_that_names_it(port: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = address_of(taken)
        code, lines = await outcome(**{port: address})

    assert code == 1
    assert len(lines) == 1
    assert lines[0].startswith(f"tester: cannot listen on {address}: ")


async def test_an_unknown_variable_is_a_warning_that_names_the_nearest() -> None:
    async with process(TESTER_SLOT="2") as child:
        assert child.stderr
        line = json.loads(await child.stderr.readline())

    assert line["level"] == "warning"
    assert (line["variable"], line["nearest"]) == ("TESTER_SLOT", "TESTER_SLOTS")


async def lines(place: str) -> list[dict[str, str]]:
    """What a process logs in which something is the matter there."""
    async with process(TESTER_FAILS=place) as child:
        assert child.stderr
        said = b""
        while b'"message": "serving"' not in said:
            said += await child.stderr.readline()
        child.terminate()
        rest, _ = await child.stderr.read(), await child.wait()
    assert "invalid literal" not in (said + rest).decode()
    return [json.loads(each) for each in (said + rest).splitlines()]


@pytest.mark.parametrize("place", ["callback", "task", "thread", "finalizer"])
async def test_what_nobody_catches_is_a_line_that_does_not_quote_it(place: str) -> None:
    (line,) = [each for each in await lines(place) if each["level"] == "error"]

    assert line["message"] == "nobody caught this"
    assert "builtins.ValueError" in line["exception"]


async def test_a_warning_of_pythons_is_a_line_that_does_not_quote_it() -> None:
    (line,) = [each for each in await lines("warning") if each["level"] == "warning"]

    assert (line["message"], line["kind"], line["said"]) == ("Python warns", "UserWarning", "")


async def test_a_start_that_fails_by_a_bug_says_so_and_does_not_quote_it() -> None:
    code, said = await outcome(TESTER_FAILS="start")

    last = [each for each in said if not each.startswith("{")]
    assert (code, last) == (1, ["tester: internal error (ValueError); the log has more"])
    assert "invalid literal" not in "".join(said)
    assert "builtins.ValueError" in "".join(said)
