"""The process that runs a model is killed in the middle of an answer, and the task's fallback goes
on with it."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc

from services.orchestrator.domain.balancing import Load, replica
from tests.e2e.replicas import KEY, Cluster, Process, client, started, watched
from tests.servers.ports import free

MODELS = """\
models:
  - {name: large, size_class: large, echo: {delay_ms: 5}}
  - {name: small, size_class: small, echo: {delay_ms: 5}}
"""
ROUTES = """\
routes:
  - name: default
    rules:
      - {policy: pinned, models: [large], fallback: [small]}
"""
TEXT = " ".join(f"tok{number}" for number in range(1, 201))


@dataclass
class Fleet(Cluster):
    """Orchestrators over two inference services, which serve the same models."""

    @property
    def inference(self) -> Sequence[Process]:
        """Both."""
        return self.others[:2]

    def home(self, session_id: str) -> Process:
        """The one that has the session's turns."""
        loads = [Load(each.address) for each in self.inference]
        address = replica(loads, session_id).address
        return next(each for each in self.inference if each.address == address)


@contextmanager
def fleet(folder: Path) -> Iterator[Fleet]:
    """A fleet that serves."""
    (folder / "models.yaml").write_text(MODELS)
    (folder / "routes.yaml").write_text(ROUTES)

    def process(name: str, number: int = 1, **settings: str) -> Process:
        port, admin = (free() for _ in range(2))
        return Process(name, settings, port, admin, folder / f"{name}_{number}.log")

    models = {"INFERENCE_MODELS": str(folder / "models.yaml")}
    both = [process("inference", number, **models) for number in (1, 2)]
    registry = process("tool_registry")
    orchestrator = process(
        "orchestrator",
        ORCHESTRATOR_INFERENCE__TARGET=f"ipv4:{','.join(each.address for each in both)}",
        ORCHESTRATOR_TOOL_REGISTRY__TARGET=registry.address,
        ORCHESTRATOR_MARK_KEY=KEY,
        ORCHESTRATOR_ROUTES=str(folder / "routes.yaml"),
        RUNPLANE_EVENT_STORE=f"sqlite:///{folder / 'data'}",
    )
    running = Fleet([orchestrator], [*both, registry])
    with started([*running.others, orchestrator]):
        yield running


def said(events: Sequence[pb.TaskEvent]) -> str:
    return "".join(event.text for event in events if event.type == "message_delta")


@pytest.mark.parametrize("count", [1, 8])
async def test_answers_whose_model_is_killed_are_finished_by_the_fallback(
    tmp_path: Path, count: int
) -> None:
    with fleet(tmp_path) as running:
        async with client(running) as stub, asyncio.timeout(60):
            request = pb.InvokeRequest(query="tokens:200", tool_choice="none")
            tasks = [await stub.CreateTask(request, timeout=10) for _ in range(count)]
            victim = running.home(tasks[0].session_id)
            await spoken(stub, tasks)
            await asyncio.to_thread(victim.kill)
            logs = {each.task_id: await watched(stub, each.task_id) for each in tasks}

    for events in logs.values():
        assert events[-1].status == "completed"
        assert said(events) == TEXT
        assert [event.answer for event in events if event.type == "final_answer"] == [TEXT]
    changed = {
        task_id: [event.model_change for event in events if event.type == "model_changed"]
        for task_id, events in logs.items()
    }
    assert changed[tasks[0].task_id]
    for task_id in filter(changed.get, changed):
        (change,) = changed[task_id]
        assert (change.from_model, change.model) == ("large", "small")
        assert logs[task_id][-1].metadata.model == "small"


async def spoken(stub: "pb_grpc.OrchestratorServiceAsyncStub", tasks: Sequence[pb.Task]) -> None:
    """Wait until each of these tasks has said something."""
    for task in tasks:
        request = pb.WatchTaskRequest(task_id=task.task_id)
        watching = stub.WatchTask(request, timeout=20)
        async for event in watching:
            if event.type == "message_delta":
                break
        watching.cancel()
