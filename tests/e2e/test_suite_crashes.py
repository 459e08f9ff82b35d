"""A service is killed while a task runs: the task, or at least its stream, ends in a clear way."""

import os
import signal
from collections.abc import Iterator

import httpx2
import pytest

from tests.e2e.running import Suite, suite, until
from tests.e2e.streams import Event, is_contiguous, read

# A service that is killed is back before the model has spoken.
CALLS = 'sleep:5000\ntool:calculator {"expression": "12*7"}\n84'


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A suite to break."""
    with suite(tmp_path_factory.mktemp("fragile"), "--engine", "echo") as running:
        yield running


@pytest.fixture
def edge(fragile: Suite) -> Iterator[httpx2.Client]:
    """A client of its edge, once all serve."""
    with httpx2.Client(base_url=fragile.url, timeout=20) as client:
        until(lambda: client.get("/readyz").status_code == 200)
        yield client


def broken(
    fragile: Suite, edge: httpx2.Client, service: str, *, returns: bool = True
) -> list[Event]:
    """What a stream says when a service, not killed before, is killed at its start.

    One that does not return is one whose supervisor stands still meanwhile.
    """
    supervisor = fragile.process
    with edge.stream("POST", "/v1/agent/stream", json={"query": CALLS}) as reply:
        events = read(reply.iter_lines())
        first = next(events).said
        if not returns:
            supervisor.send_signal(signal.SIGSTOP)
        try:
            os.kill(fragile.run["pids"][service], signal.SIGKILL)
            return [first, *(each.said for each in events)]
        finally:
            supervisor.send_signal(signal.SIGCONT)


def test_a_task_outlives_the_tool_registry(fragile: Suite, edge: httpx2.Client) -> None:
    said = broken(fragile, edge, "tool_registry")

    assert is_contiguous(said)
    assert [each["status"] for each in said if each["type"] == "tool_result"] == ["success"]
    assert (said[-1]["status"], said[-2]["answer"]) == ("completed", "84")


def test_a_task_without_inference_ends_with_its_reason(fragile: Suite, edge: httpx2.Client) -> None:
    said = broken(fragile, edge, "inference", returns=False)

    assert is_contiguous(said)
    assert [each["attempt"] for each in said if each["type"] == "step_abandoned"] == [1, 2, 3]
    assert (said[-1]["type"], said[-1]["status"]) == ("task_complete", "failed")
    assert said[-1]["error"]["grpc_status"] == "UNAVAILABLE"
    assert said[-1]["error"]["error_code"] == "PEER_UNAVAILABLE"


def test_a_stream_without_its_orchestrator_ends_with_an_error(
    fragile: Suite, edge: httpx2.Client
) -> None:
    said = broken(fragile, edge, "orchestrator")

    assert (said[-1]["status"], said[-1]["code"]) == ("error", 503)
    assert said[-1]["error_code"] == "SERVICE_UNAVAILABLE"


def test_a_task_that_waits_for_approval_outlives_the_orchestrator(
    fragile: Suite, edge: httpx2.Client
) -> None:
    asked = {"query": CALLS.removeprefix("sleep:1500\n"), "approval_tools": ["calculator"]}
    task_id = edge.post("/v1/tasks", json=asked).json()["task_id"]
    until(lambda: edge.get(f"/v1/tasks/{task_id}").json()["status"] == "waiting")
    with edge.stream("GET", f"/v1/tasks/{task_id}:watch") as reply:
        events = (each.said for each in read(reply.iter_lines()))
        call_id = next(
            each["tool_call_id"] for each in events if each["type"] == "approval_required"
        )
    os.kill(fragile.run["pids"]["orchestrator"], signal.SIGKILL)
    until(lambda: edge.get("/readyz").status_code == 200)

    kept = edge.get(f"/v1/tasks/{task_id}").json()["status"]
    reply = edge.post(f"/v1/tasks/{task_id}:approve", json={"tool_call_id": call_id})

    assert (kept, reply.status_code) == ("waiting", 200)
    until(lambda: edge.get(f"/v1/tasks/{task_id}").json()["status"] == "completed")
    with edge.stream("GET", f"/v1/tasks/{task_id}:watch") as reply_again:
        said = [each.said for each in read(reply_again.iter_lines())]
    assert is_contiguous(said)
    assert [each["type"] for each in said].count("tool_result") == 1
