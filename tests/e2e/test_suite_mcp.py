"""An MCP server in a whole suite: registered at the edge, called by an agent, killed, and back."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from tests.e2e.running import Suite, is_alive, suite, until
from tests.servers.ports import free

WEATHER = Path(__file__).parents[2] / "examples" / "weather" / "server.py"
QUERY = 'tool:weather__weather_query {"location": "Paris", "unit": "celsius"}\nIt is sunny.'
INPUT = {"input": {"location": "Paris", "unit": "fahrenheit"}}
PARIS = {"temperature": 72.5, "condition": "Sunny", "confidence": 0.92}


@contextmanager
def weather(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The example's server over HTTP."""
    line = [sys.executable, str(WEATHER), "--http", str(port)]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        with suppress(httpx2.TransportError):
            return httpx2.get(f"http://127.0.0.1:{port}/mcp").status_code > 0
        return False

    try:
        until(answers)
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def another_way_to(port: int) -> Iterator[int]:
    """Another port that leads to this one, as a proxy in front of a suite has it."""

    def forward(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                caller, _ = listening.accept()
                called = socket.create_connection(("127.0.0.1", port))
                for way in ((caller, called), (called, caller)):
                    threading.Thread(target=forward, args=way, daemon=True).start()
                open_ones.extend((caller, called))

    open_ones: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepting = threading.Thread(target=accept)
        accepting.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        accepting.join()
        for each in open_ones:
            each.close()


def test_a_server_is_changed_over_the_edge_and_its_tools_follow(edge: httpx2.Client) -> None:
    command = {"program": sys.executable, "arguments": [str(WEATHER)]}
    key = {"Idempotency-Key": "one-weather"}
    body = {"namespace": "plain", "command": command}
    first = edge.post("/v1/mcp-servers", json=body, headers=key).json()
    again = edge.post("/v1/mcp-servers", json=body, headers=key)
    changed = edge.patch("/v1/mcp-servers/plain", json={"tags": ["sky"], "timeout_ms": 5000}).json()
    tool = edge.get("/v1/tools/plain__weather_query").json()
    edge.delete("/v1/mcp-servers/plain")

    assert (again.status_code, again.json()) == (200, first)
    assert (changed["state"], changed["tags"]) == ("MCP_SERVER_STATE_CONNECTED", ["sky"])
    assert (tool["tags"], tool["timeout_ms"]) == (["sky"], 5000)


def test_a_suites_own_edge_is_not_linked(running: Suite, edge: httpx2.Client) -> None:
    own = int(running.url.rpartition(":")[2])
    with another_way_to(own) as port:
        shown = registered(edge, namespace="me", url=f"http://127.0.0.1:{port}/mcp")
        names = [tool["name"] for tool in edge.get("/v1/tools").json()["tools"]]
    edge.delete("/v1/mcp-servers/me")

    assert shown["state"] == "MCP_SERVER_STATE_UNAVAILABLE"
    assert "this suite's own /mcp" in shown["problem"]
    assert not [name for name in names if name.startswith("me__")]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A suite of these tests' own: one of them kills its registry."""
    with suite(tmp_path_factory.mktemp("mcp"), "--engine", "echo") as started:
        yield started


@pytest.fixture(scope="module")
def edge(running: Suite) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=running.url, timeout=30) as client:
        yield client


def registered(edge: httpx2.Client, **server: object) -> dict[str, Any]:
    """A server, registered over the edge."""
    answer = edge.post("/v1/mcp-servers", json=server)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def state(edge: httpx2.Client, namespace: str) -> Callable[[], str]:
    """Reads a server's state."""

    def read() -> str:
        answer = edge.get(f"/v1/mcp-servers/{namespace}")
        return str(answer.json().get("state", "")).removeprefix("MCP_SERVER_STATE_")

    return read


def asked(edge: httpx2.Client) -> list[dict[str, Any]]:
    """What the tool said to an agent that was told to call it."""
    events = edge.post("/v1/agent/stream", json={"query": QUERY}).text
    lines = [line[5:] for line in events.splitlines() if line.startswith("data:")]
    return [event for event in map(json.loads, lines) if event.get("type") == "tool_result"]


def program_of(registry: int) -> psutil.Process:
    """The one child of the registry."""
    (child,) = psutil.Process(registry).children()
    return child


def test_an_agent_calls_a_server_that_dies_and_comes_back(
    running: Suite, edge: httpx2.Client
) -> None:
    port = free()
    read = state(edge, "weather")

    with weather(port) as process:
        shown = registered(edge, namespace="weather", url=f"http://127.0.0.1:{port}/mcp")
        until(lambda: asked(edge))  # Agents' lists of tools may be some seconds old.
        (result,) = asked(edge)
        process.send_signal(signal.SIGKILL)
        process.wait()
        until(lambda: read() == "UNAVAILABLE")
    tool = edge.get("/v1/tools/weather__weather_query").json()
    failed = edge.post("/v1/tools/weather__weather_query:call", json=INPUT)
    with weather(port):
        until(lambda: read() == "CONNECTED", seconds=60)
        answer = edge.post("/v1/tools/weather__weather_query:call", json=INPUT).json()

    assert (shown["state"], shown["tool_count"]) == ("MCP_SERVER_STATE_CONNECTED", 1)
    assert (result["status"], result["output"]["condition"]) == ("success", "Sunny")
    assert "weather" in tool["unavailable"]
    assert (failed.status_code, failed.json()["error_code"]) == (503, "TOOL_UNAVAILABLE")
    assert answer["result"] == PARIS


def test_a_registry_that_is_killed_has_its_servers_again(
    running: Suite, edge: httpx2.Client
) -> None:
    command = {"program": sys.executable, "arguments": [str(WEATHER)]}
    registered(edge, namespace="city", command=command)
    registry = running.run["pids"]["tool_registry"]
    program = program_of(registry)
    os.kill(registry, signal.SIGKILL)
    until(lambda: running.run["pids"]["tool_registry"] != registry)

    def answer() -> object:
        call = edge.post("/v1/tools/city__weather_query:call", json=INPUT)
        return call.json().get("result")

    until(lambda: answer() == PARIS)
    until(lambda: not is_alive(program.pid))  # Its input was closed.
    assert program_of(running.run["pids"]["tool_registry"]).pid != program.pid


def test_what_a_server_has_beside_tools_is_read_over_the_edge(edge: httpx2.Client) -> None:
    command = {"program": sys.executable, "arguments": [str(WEATHER)]}
    registered(edge, namespace="reading", command=command)

    listed = edge.get("/v1/resources").json()["resources"]
    parameters = {"uri": "weather://locations", "server": "reading"}
    read = edge.get("/v1/resources:read", params=parameters).json()
    gone = edge.get("/v1/resources:read", params={"uri": "weather://nowhere"})

    assert [each["uri"] for each in listed] == ["weather://locations"]
    assert "Paris" in read["contents"][0]["text"]
    assert (gone.status_code, gone.json()["error_code"]) == (404, "RESOURCE_NOT_FOUND")


def test_a_city_without_weather_is_told_with_others(edge: httpx2.Client) -> None:
    command = {"program": sys.executable, "arguments": [str(WEATHER)]}
    registered(edge, namespace="other", command=command)

    answer = edge.post(
        "/v1/tools/other__weather_query:call", json={"input": {"location": "Parris"}}
    )

    assert answer.json()["status"] == "error"
    assert "ask for Paris" in answer.json()["error"]["message"]


def test_a_server_that_is_deleted_is_gone_with_its_tools(edge: httpx2.Client) -> None:
    command = {"program": sys.executable, "arguments": [str(WEATHER)]}
    registered(edge, namespace="brief", command=command)

    deleted = edge.delete("/v1/mcp-servers/brief")
    tool = edge.get("/v1/tools/brief__weather_query")

    assert deleted.status_code == 200
    assert (tool.status_code, tool.json()["error_code"]) == (404, "TOOL_NOT_FOUND")
    assert state(edge, "brief")() == ""


def test_programs_end_with_the_suite(tmp_path: Path) -> None:
    with suite(tmp_path, "--engine", "echo") as started:
        with httpx2.Client(base_url=started.url, timeout=30) as client:
            command = {"program": sys.executable, "arguments": [str(WEATHER)]}
            registered(client, namespace="weather", command=command)
        program = program_of(started.run["pids"]["tool_registry"])
        started.process.send_signal(signal.SIGINT)
        started.process.wait(timeout=30)

        assert not is_alive(program.pid)
