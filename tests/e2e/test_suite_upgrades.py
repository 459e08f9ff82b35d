"""A whole suite that is stopped, and started again as another version on what it left."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from services.chassis.eventlog.open import event_store
from services.chassis.eventlog.port import Append, NewEvent
from services.workflow.domain.instance import Standing
from services.workflow.mapping import workflows as mapping
from tests.e2e.belongings import DOCUMENTS, Belongings
from tests.e2e.replicas import ROOT, is_ready
from tests.e2e.running import Suite, suite, until
from tests.e2e.versions import Mixed, mixed, run_in
from tests.histories import reading
from tests.servers.counting import Counting, counting
from tests.servers.postgres import postgres

SERVICES = ("inference", "tool_registry", "orchestrator", "workflow")
WHOLE = (*SERVICES, "gateway")


@contextmanager
def store(kind: str, folder: Path) -> Iterator[str]:
    """An event store that outlives suites."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'data'}"
        return
    with postgres() as server:
        yield server.url


def stop(suite: Mixed) -> None:
    """As an orchestrator of containers does."""
    for each in reversed(suite.all):
        each.signal(signal.SIGTERM)
    for each in suite.all:
        assert each.child is not None
        each.child.wait(20)


def start_as_the_other(suite: Mixed) -> None:
    """Start all of it as the other version, which may not change a schema: what is called first."""
    for names in (("inference", "tool_registry"), ("orchestrator",), ("workflow",), ("gateway",)):
        processes = [suite.process(name) for name in names]
        for each in processes:
            each.root = ROOT if each.root == suite.earlier else suite.earlier
            each.environment = {**each.environment, "RUNPLANE_MIGRATE": "never"}
            each.start()
        for each in processes:
            until(lambda each=each: is_ready(each), seconds=60)  # type: ignore[misc]


def migrate(event_store: str) -> None:
    """As the Job before a rollout does, with this version's steps."""
    for name in SERVICES:
        line = ("-m", "services.chassis.inspection", f"services.{name}", "migrate")
        run_in(ROOT, *line, RUNPLANE_EVENT_STORE=event_store)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize("is_back", [False, True], ids=["update", "roll-back"])
async def test_what_one_version_left_another_finds_and_ends(
    tmp_path: Path, earlier: Path, kind: str, is_back: bool
) -> None:
    def go_through(tool: Counting, url: str) -> None:
        with mixed(tmp_path, earlier, () if is_back else WHOLE, event_store=url) as suite:
            with httpx2.Client(base_url=suite.url, timeout=30) as http:
                mine = Belongings(http, tool)
                mine.make()
            stop(suite)
            if not is_back:
                migrate(url)
            start_as_the_other(suite)
            with httpx2.Client(base_url=suite.url, timeout=30) as http:
                mine.go_over_to(http)
                mine.check(is_back=is_back)

    with store(kind, tmp_path) as url:
        async with counting() as tool:
            await asyncio.to_thread(go_through, tool, url)


async def put_histories(url: str) -> None:
    """What is recorded of tasks and workflows, into a store in which nothing is."""
    async with event_store(url, service="orchestrator") as tasks:
        for path in reading.TASKS:
            _, events = reading.document(path)
            await tasks.append(Append("default", task_of(path), 0, events))
    async with event_store(url, service="workflow") as workflows:
        for path in reading.WORKFLOWS:
            found, instance = reading.workflow(path), reading.workflow(path).replayed()
            at = Standing(found.definition, instance, instance.update_time)
            record = mapping.record(at, found.adds_up_to["head"])
            events = [NewEvent(each.type, each.time, each.body) for each in found.events]
            batch = Append("default", record.id, 0, events, records=[record])
            await workflows.append(batch)


def task_of(path: Path) -> str:
    """A name for the task in a file: the recorded ones are all called the same."""
    return f"task_{path.stem}"


def check_task(http: httpx2.Client, path: Path) -> None:
    """It is shown as what its events add up to."""
    known = reading.document(path)[0]["adds_up_to"]
    shown = http.get(f"/v1/tasks/{task_of(path)}").json()
    assert (shown["status"], shown["last_sequence"]) == (known["status"], known["sequence"]), path


def check_workflow(http: httpx2.Client, path: Path) -> None:
    """Its events lead to what is kept beside them."""
    found = reading.workflow(path)
    http.post("/v1/definitions", json={"definition": found.source})
    shown = http.post(f"/v1/workflows/{found.shown.workflow_id}:verify").json()
    assert (shown["consistent"], shown["problems"]) == (True, []), path


async def test_the_version_before_reads_what_is_recorded(tmp_path: Path, earlier: Path) -> None:
    """What a release writes, those beside it in an update read, too."""

    def look() -> None:
        whole = {"names": WHOLE, "event_store": url}
        with (
            mixed(tmp_path, earlier, **whole) as suite,  # type: ignore[arg-type]
            httpx2.Client(base_url=suite.url, timeout=30) as http,
        ):
            for path in reading.TASKS:
                check_task(http, path)
            for path in reading.WORKFLOWS:
                check_workflow(http, path)

    url = f"sqlite:///{tmp_path / 'data'}"
    await put_histories(url)
    await asyncio.to_thread(look)


def test_what_is_defined_can_be_carried_over_to_another_suite(
    tmp_path: Path, echo: Suite, http: httpx2.Client
) -> None:
    http.post("/v1/agents", json={"agent_id": "carried", "instructions": "You help."})
    http.post("/v1/definitions", json={"yaml": DOCUMENTS})
    with suite(tmp_path, "--engine", "echo") as new, httpx2.Client(base_url=new.url) as there:
        line = [sys.executable, ROOT / "examples" / "carry_over.py", echo.url, new.url]
        first, second = (
            subprocess.run(line, capture_output=True, text=True, check=True).stdout for _ in "12"
        )
        agent = there.get("/v1/agents/carried").json()
        definition = there.get("/v1/definitions/documents").json()

    assert "agents carried: carried over\n" in first
    assert "agents carried: there is an agent carried already\n" in second
    assert (agent["instructions"], definition["version"]) == ("You help.", 1)
