"""Orchestrators that are killed and started again, with the services they need, as processes."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import grpc
import httpx2
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc

from services.chassis.client import channel
from services.chassis.settings import ClientSettings
from tests.e2e.running import PLAIN, UNCACHED, until
from tests.servers.ports import free

ROOT = Path(__file__).parents[2]
KEY = "ab" * 32
PASSING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
# Text takes a while, so that a kill may come in the middle of it.
PACE = {"INFERENCE_ENGINE": "echo", "INFERENCE_ECHO__DELAY": "PT0.002S"}
# What is killed is taken up soon.
SOON = {"ORCHESTRATOR_TASKS__LEASE": "1s", "ORCHESTRATOR_TASKS__LOOK": "100ms"}

Result = TypeVar("Result")


@dataclass
class Process:
    """A service that can be killed and started again on the same ports."""

    name: str
    environment: Mapping[str, str]
    port: int
    admin: int
    log: Path
    child: subprocess.Popen[bytes] | None = None
    root: Path = ROOT
    """Where its code is."""

    @property
    def address(self) -> str:
        """Its gRPC port; the gateway's HTTP port."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; it may not be ready yet."""
        is_edge = self.name == "gateway"
        prefix = f"{self.name.upper()}_" + ("" if is_edge else "SERVER__")
        environment = {
            "RUNPLANE_PAGE_TOKEN_KEY": KEY,
            f"{prefix}LISTEN": self.address,
            f"{prefix}ADMIN": f"127.0.0.1:{self.admin}",
            f"{prefix}GRACE": "1",
            "PYTHONPATH": f"{self.root}:{self.root / 'protos' / 'gen'}",
        }
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                [sys.executable, "-m", self.name if is_edge else f"services.{self.name}"],
                env=PLAIN | environment | dict(self.environment),
                stdout=log,
                stderr=log,
                cwd=self.root,
            )

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.child is not None
        os.kill(self.child.pid, number)

    def kill(self) -> None:
        """End it at once."""
        assert self.child is not None
        self.child.kill()
        self.child.wait(10)

    def said(self) -> str:
        """What it logged."""
        return self.log.read_text()


@dataclass
class Cluster:
    """Replicas of the orchestrator over one inference service and one tool registry."""

    orchestrators: list[Process]
    others: list[Process] = field(default_factory=list)

    @property
    def target(self) -> str:
        """All replicas, as grpc names them."""
        return "ipv4:" + ",".join(each.address for each in self.orchestrators)


@contextmanager
def cluster(
    folder: Path, event_store: str, *, replicas: int = 1, **environment: str
) -> Iterator[Cluster]:
    """A cluster that serves. Each service takes what is its own of the environment."""
    folder.mkdir(exist_ok=True)

    def process(name: str, number: int = 1, **settings: str) -> Process:
        port, admin = (free() for _ in range(2))
        return Process(name, settings, port, admin, folder / f"{name}_{number}.log")

    inference, registry = process("inference", **(PACE | environment)), process("tool_registry")
    settings = {
        "ORCHESTRATOR_INFERENCE__TARGET": inference.address,
        "ORCHESTRATOR_TOOL_REGISTRY__TARGET": registry.address,
        "ORCHESTRATOR_MARK_KEY": KEY,
        "RUNPLANE_EVENT_STORE": event_store,
        **UNCACHED,
        **environment,
    }
    orchestrators = [process("orchestrator", n, **settings) for n in range(1, replicas + 1)]
    running = Cluster(orchestrators, [inference, registry])
    with started([*running.others, *orchestrators]):
        yield running


@contextmanager
def edge(folder: Path, running: Cluster, **environment: str) -> Iterator[Process]:
    """A gateway before a cluster."""
    inference, registry = running.others
    port, admin = (free() for _ in range(2))
    settings = {
        "GATEWAY_INFERENCE__TARGET": inference.address,
        "GATEWAY_TOOL_REGISTRY__TARGET": registry.address,
        "GATEWAY_ORCHESTRATOR__TARGET": running.target,
        **environment,
    }
    gateway = Process("gateway", settings, port, admin, folder / "gateway.log")
    with started([gateway]):
        yield gateway


@contextmanager
def started(processes: Sequence[Process]) -> Iterator[None]:
    """Processes that serve until the context is left."""
    try:
        for each in processes:
            each.start()
        for each in processes:
            until(lambda each=each: is_ready(each), seconds=60)  # type: ignore[misc]
        yield
    finally:
        for each in processes:
            if each.child is not None and each.child.poll() is None:
                each.child.send_signal(signal.SIGCONT)
                each.kill()


def is_ready(process: Process) -> bool:
    """Whether it serves."""

    try:
        return httpx2.get(f"http://127.0.0.1:{process.admin}/readyz").status_code == 200
    except httpx2.TransportError:
        return False


@asynccontextmanager
async def client(running: Cluster) -> AsyncIterator["pb_grpc.OrchestratorServiceAsyncStub"]:
    """A client of all replicas."""
    async with channel(ClientSettings(target=running.target)) as opened:
        yield pb_grpc.OrchestratorServiceStub(opened)


async def patiently(call: Callable[[], Awaitable[Result]]) -> Result:
    """As a client does that knows that a service may be away for a moment."""
    while True:
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            if error.code() not in PASSING:
                raise
            await asyncio.sleep(0.05)


async def watched(
    stub: "pb_grpc.OrchestratorServiceAsyncStub", task_id: str
) -> Sequence[pb.TaskEvent]:
    """A task's events to its end, taken up again wherever the stream breaks."""
    events: list[pb.TaskEvent] = []

    async def go_on() -> None:
        after = events[-1].sequence if events else 0
        request = pb.WatchTaskRequest(task_id=task_id, after_sequence=after)
        async for event in stub.WatchTask(request, timeout=120):
            events.append(event)  # noqa: PERF401 - what came before a break is kept

    while not events or events[-1].type != "task_complete":
        await patiently(go_on)
    return events
