"""A suite half of which is of the version before: on the wire, and in the event store."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.e2e.journeys import Journeys
from tests.e2e.replicas import ROOT
from tests.e2e.running import until
from tests.e2e.streams import asked
from tests.e2e.versions import Mixed, imported, mixed
from tests.servers.counting import Counting, counting
from tests.servers.postgres import postgres

SCRIPT = 'tool:calculator {"expression": "12*7"}\n12 times 7 is 84.'
ANSWER = "12 times 7 is 84."
LONG = "word " * 2_000
OFTEN = {"WORKFLOW_VERIFY__INTERVAL": "200ms"}
both_ways = pytest.mark.parametrize("is_back", [False, True], ids=["update", "roll-back"])


def client(suite: Mixed) -> httpx2.Client:
    """A client of its edge."""
    return httpx2.Client(base_url=suite.url, timeout=30)


def seen(http: httpx2.Client, task_id: str) -> dict[str, Any]:
    """The task as it is shown; nothing while it cannot be asked for."""
    reply = http.get(f"/v1/tasks/{task_id}")
    return dict(reply.json()) if reply.status_code == 200 else {}


def test_the_earlier_version_runs_its_own_code(earlier: Path) -> None:
    assert imported(earlier) == earlier / "services" / "__init__.py"
    assert imported(ROOT) == ROOT / "services" / "__init__.py"


@pytest.mark.parametrize(
    "names",
    [("orchestrator",), ("inference", "tool_registry"), ("gateway",)],
    ids=" and ".join,
)
def test_a_part_of_the_version_before_answers_and_streams(
    tmp_path: Path, earlier: Path, names: tuple[str, ...]
) -> None:
    with mixed(tmp_path, earlier, names) as suite, client(suite) as http:
        whole = http.post("/v1/agent/invoke", json={"query": SCRIPT}).json()
        events = [event.said for event in asked(http, SCRIPT)]

    types = {each["type"] for each in events}
    assert (whole["status"], whole["result"]) == ("completed", ANSWER)
    assert events[-1]["status"] == "completed"
    assert {"task_start", "tool_call", "tool_result", "message_delta", "final_answer"} <= types


@both_ways
def test_a_task_goes_on_with_another_version(tmp_path: Path, earlier: Path, is_back: bool) -> None:
    """What one version began and wrote, the other reads, and carries to its end."""
    first = ("orchestrator",) if not is_back else ()
    with mixed(tmp_path, earlier, first) as suite, client(suite) as http:
        done = http.post("/v1/agent/invoke", json={"query": SCRIPT}).json()["task_id"]
        cut = http.post("/v1/tasks", json={"query": LONG}).json()["task_id"]
        until(lambda: seen(http, cut).get("last_sequence", 0) > 5)
        assert seen(http, cut)["status"] == "running"

        suite.replace("orchestrator")
        until(lambda: seen(http, cut).get("status") == "completed", seconds=60)
        known, ended = seen(http, done), seen(http, cut)

    assert (known["status"], known["result"]) == ("completed", ANSWER)
    assert ended["result"].split() == LONG.split()


@both_ways
async def test_workflows_go_on_with_another_version(
    tmp_path: Path, earlier: Path, is_back: bool
) -> None:
    """One version has begun an action, an agent, a wait for an event and a compensation; the other
    ends them."""

    def travel(tool: Counting) -> None:
        first = ("workflow",) if not is_back else ()
        with mixed(tmp_path, earlier, first, **OFTEN) as suite, client(suite) as http:
            journeys = Journeys(http, tool)
            journeys.begin()
            suite.replace("workflow")
            journeys.finish()
            journeys.check()

    async with counting() as tool:
        await asyncio.to_thread(travel, tool)


@pytest.mark.parametrize(
    "names", [("orchestrator",), ("tool_registry",), ("gateway",)], ids=" and ".join
)
async def test_workflows_run_over_a_part_of_the_version_before(
    tmp_path: Path, earlier: Path, names: tuple[str, ...]
) -> None:
    def travel(tool: Counting) -> None:
        with mixed(tmp_path, earlier, names) as suite, client(suite) as http:
            journeys = Journeys(http, tool)
            journeys.begin()
            journeys.finish()
            journeys.check()

    async with counting() as tool:
        await asyncio.to_thread(travel, tool)


async def test_workflows_run_with_a_replica_of_each_version(tmp_path: Path, earlier: Path) -> None:
    """As in the midst of an update: whatever either writes, and verifies, the other understands."""

    def travel(tool: Counting, event_store: str) -> None:
        both = {"both": ("workflow", "orchestrator"), "event_store": event_store}
        with mixed(tmp_path, earlier, **both, **OFTEN) as suite, client(suite) as http:  # type: ignore[arg-type]
            journeys = Journeys(http, tool)
            journeys.begin()
            journeys.finish()
            journeys.check()

    with postgres() as server:
        async with counting() as tool:
            await asyncio.to_thread(travel, tool, server.url)
