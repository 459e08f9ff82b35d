"""More than one process of a service."""

from pathlib import Path

import httpx2
import pytest

from tests.e2e.running import outcome, suite, until
from tests.servers.ports import SUITE, free
from tests.servers.postgres import postgres
from tests.servers.redis import redis


@pytest.mark.parametrize(
    "arguments",
    [
        ("--replicas", "orchestrator=2"),
        ("--replicas", "orchestrator=2", "--event-store", "memory:"),
        ("--replicas", "tool_registry=2"),
        ("--replicas", "workflow=2"),
        ("--replicas", "inference=2"),
        ("--replicas", "gateway=2"),
        ("--replicas", "orchestrator"),
        ("--replicas", "orchestrator=0"),
        ("--replicas", "orchestrator=10", "--event-store", "postgresql://127.0.0.1/x"),
    ],
)
def test_replicas_that_cannot_be_are_a_usage_error(tmp_path: Path, arguments: tuple[str]) -> None:
    code, out, err = outcome("up", "--engine", "echo", "--state", str(tmp_path), *arguments)

    assert (code, out) == (2, "")
    assert "Traceback" not in err


def test_replicas_share_their_tasks(tmp_path: Path) -> None:
    with postgres() as store, redis() as hot:
        shared = ("--event-store", store.url, "--hot-store", hot.url)
        replicas = ("--replicas", "orchestrator=2", "--replicas", "inference=2")
        with (
            suite(tmp_path, "--engine", "echo", *shared, *replicas) as running,
            httpx2.Client(base_url=running.url, timeout=20) as http,
        ):
            made = [http.post("/v1/tasks", json={"query": f"task {n}"}).json() for n in range(20)]
            paths = [f"/v1/tasks/{task['task_id']}" for task in made]
            until(lambda: all(http.get(path).json()["status"] == "completed" for path in paths))
            listed = http.get("/v1/tasks", params={"page_size": 100}).json()["tasks"]
            names = set(running.run["pids"])

    assert {task["query"] for task in listed} == {f"task {n}" for n in range(20)}
    expected = {"orchestrator", "orchestrator-2", "inference", "inference-2"}
    assert names == expected | {"tool_registry", "workflow", "gateway"}


def test_a_bad_event_store_is_one_line_that_names_its_setting(tmp_path: Path) -> None:
    port = str(free(SUITE))
    arguments = ("--engine", "echo", "--port", port, "--state", str(tmp_path), "--event-store")

    code, _, err = outcome("up", *arguments, "postgresql://user:hunter2@127.0.0.1:1/x")

    assert code == 1
    assert "hunter2" not in err
    assert len(err.splitlines()) == 1
    assert "RUNPLANE_EVENT_STORE" in err
