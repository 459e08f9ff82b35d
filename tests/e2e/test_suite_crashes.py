"""A service is killed while a task runs: the task, or at least its stream, ends in a clear way."""

import os
import signal
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.running import Suite, suite, until
from tests.e2e.streams import Event, is_contiguous, read

CALLS = 'sleep:300\ntool:calculator {"expression": "12*7"}\n84'


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A suite to break."""
    with suite(tmp_path_factory.mktemp("fragile"), "--engine", "echo") as running:
        yield running


@pytest.fixture
def edge(fragile: Suite) -> Iterator[httpx.Client]:
    """A client of its edge, once all serve."""
    with httpx.Client(base_url=fragile.url, timeout=20) as client:
        until(lambda: client.get("/readyz").status_code == 200)
        yield client


def broken(fragile: Suite, edge: httpx.Client, service: str) -> list[Event]:
    """What a stream says when a service, not killed before, is killed at its start."""
    with edge.stream("POST", "/v1/agent/stream", json={"query": CALLS}) as reply:
        events = read(reply.iter_lines())
        first = next(events).said
        os.kill(fragile.run["pids"][service], signal.SIGKILL)
        return [first, *(each.said for each in events)]


def test_a_task_outlives_the_tool_registry(fragile: Suite, edge: httpx.Client) -> None:
    said = broken(fragile, edge, "tool_registry")

    assert is_contiguous(said)
    assert (said[-1]["status"], said[-2]["answer"]) == ("completed", "84")


def test_a_task_without_inference_ends_with_its_reason(fragile: Suite, edge: httpx.Client) -> None:
    said = broken(fragile, edge, "inference")

    assert is_contiguous(said)
    assert "step_abandoned" in [each["type"] for each in said]
    assert said[-1]["type"] == "task_complete"
    if said[-1]["status"] != "completed":
        assert said[-1]["error"]["grpc_status"] == "UNAVAILABLE"


def test_a_stream_without_its_orchestrator_ends_with_an_error(
    fragile: Suite, edge: httpx.Client
) -> None:
    said = broken(fragile, edge, "orchestrator")

    assert (said[-1]["status"], said[-1]["code"]) == ("error", 503)
    assert said[-1]["error_code"] == "SERVICE_UNAVAILABLE"
