"""A suite half of which is of the version before: on the wire, and in the event store."""

import asyncio
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import Signals
from typing import Any

import httpx2
import pytest

from tests.e2e.journeys import Journeys
from tests.e2e.replicas import ROOT
from tests.e2e.running import until
from tests.e2e.streams import Sse, answer_of, asked, is_contiguous, read, watched
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
def test_a_stream_that_an_update_cuts_goes_on_where_it_was(
    tmp_path: Path, earlier: Path, is_back: bool
) -> None:
    """Its caller was cut off and has not left: the task is not cancelled."""
    first = ("orchestrator",) if not is_back else ()
    with mixed(tmp_path, earlier, first) as suite, client(suite) as http:
        said: list[Sse] = []
        with http.stream("POST", "/v1/agent/stream", json={"query": LONG}) as reply:
            for event in read(reply.iter_lines()):
                said.append(event)
                if len(said) == 5:
                    suite.replace("orchestrator", Signals.SIGTERM)
        *before, cut = said
        resumed = {"Last-Event-ID": before[-1].id}
        until(lambda: seen(http, before[0].said["task_id"]), seconds=60)
        after = watched(http, before[0].said["watch"], **resumed)

    whole = [event.said for event in (*before, *after)]
    assert (cut.said["status"], cut.said["error_code"]) == ("error", "SERVICE_UNAVAILABLE")
    assert is_contiguous(whole)
    assert whole[-1]["status"] == "completed"
    assert answer_of(whole).split() == LONG.split()


def test_an_answer_that_an_update_cuts_is_had_by_asking_again(
    tmp_path: Path, earlier: Path
) -> None:
    body, key = {"query": LONG}, {"Idempotency-Key": "the same"}
    with (
        mixed(tmp_path, earlier, ("orchestrator",)) as suite,
        client(suite) as http,
        ThreadPoolExecutor() as pool,
    ):
        asking = pool.submit(lambda: http.post("/v1/agent/invoke", json=body, headers=key))
        until(lambda: http.get("/v1/tasks").json()["tasks"])
        suite.replace("orchestrator", Signals.SIGTERM)
        cut = asking.result(timeout=30)
        until(lambda: http.get("/v1/tasks").status_code == 200, seconds=60)
        again = http.post("/v1/agent/invoke", json=body, headers=key).json()
        tasks = http.get("/v1/tasks").json()["tasks"]

    assert (cut.status_code, cut.json()["error_code"]) == (503, "SERVICE_UNAVAILABLE")
    assert (again["status"], again["result"].split()) == ("completed", LONG.split())
    assert [each["task_id"] for each in tasks] == [again["task_id"]]


async def travelled(
    tmp_path: Path, earlier: Path, *, replaced: str = "", **parts: Collection[str] | str
) -> None:
    """Workflows on journeys through a mixed suite, one part of which is replaced on the way."""

    def travel(tool: Counting) -> None:
        with mixed(tmp_path, earlier, **parts) as suite, client(suite) as http:  # type: ignore[arg-type]
            journeys = Journeys(http, tool)
            journeys.begin()
            if replaced:
                suite.replace(replaced)
            journeys.finish()
            journeys.check()

    async with counting() as tool:
        await asyncio.to_thread(travel, tool)


@both_ways
async def test_workflows_go_on_with_another_version(
    tmp_path: Path, earlier: Path, is_back: bool
) -> None:
    """One version has begun an action, an agent, a wait for an event and a compensation; the other
    ends them."""
    first = ("workflow",) if not is_back else ()

    await travelled(tmp_path, earlier, replaced="workflow", names=first, **OFTEN)


@pytest.mark.parametrize(
    "names", [("orchestrator",), ("tool_registry", "gateway")], ids=" and ".join
)
async def test_workflows_run_over_a_part_of_the_version_before(
    tmp_path: Path, earlier: Path, names: tuple[str, ...]
) -> None:
    await travelled(tmp_path, earlier, names=names)


async def test_workflows_run_with_a_replica_of_each_version(tmp_path: Path, earlier: Path) -> None:
    """As in the midst of an update: whatever either writes, and verifies, the other understands."""
    both = ("workflow", "orchestrator")

    with postgres() as server:
        await travelled(tmp_path, earlier, both=both, event_store=server.url, **OFTEN)
