"""Workflow services that are killed and started again, with the tool registry, as processes."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from runplane.tool_registry.v1 import tool_registry_pb2 as tools_pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as tools_grpc
from runplane.workflow.v1 import definitions_pb2 as definitions_pb
from runplane.workflow.v1 import definitions_pb2_grpc as definitions_grpc
from runplane.workflow.v1 import workflow_pb2_grpc as pb_grpc

from services.chassis.client import channel
from services.chassis.settings import ClientSettings
from tests.e2e.replicas import Process, patiently, started
from tests.servers.ports import free

# What is killed is taken up soon, and the tool registry is not what the load is too much for.
SOON = {"WORKFLOW_WORKER__LEASE": "1s", "WORKFLOW_WORKER__LOOK": "100ms"}
ROOM = {
    "TOOL_REGISTRY_EGRESS__ALLOW": "127.0.0.0/8",
    "TOOL_REGISTRY_CIRCUIT__FAILURES": "1000000",
    "TOOL_REGISTRY_LIMITS__CALLS": "4096",
    "TOOL_REGISTRY_LIMITS__CALLS_PER_TOOL": "2048",
}


@dataclass
class Engine:
    """Replicas of the workflow service over one tool registry."""

    workflows: list[Process]
    registry: Process

    @property
    def target(self) -> str:
        """All replicas, as grpc names them."""
        return "ipv4:" + ",".join(each.address for each in self.workflows)


@contextmanager
def engine(
    folder: Path, event_store: str, *, replicas: int = 1, **environment: str
) -> Iterator[Engine]:
    """One that serves. Each service takes what is its own of the environment."""

    def process(name: str, number: int = 1, **settings: str) -> Process:
        port, admin = free(), free()
        return Process(name, settings, port, admin, folder / f"{name}_{number}.log")

    registry = process("tool_registry", **(ROOM | environment))
    settings = {
        "WORKFLOW_TOOL_REGISTRY__TARGET": registry.address,
        "RUNPLANE_EVENT_STORE": event_store,
        **SOON,
        **environment,
    }
    running = Engine([process("workflow", n, **settings) for n in range(1, replicas + 1)], registry)
    with started([registry, *running.workflows]):
        yield running


@asynccontextmanager
async def client(running: Engine) -> AsyncIterator["pb_grpc.WorkflowServiceAsyncStub"]:
    """A client of all replicas."""
    async with channel(ClientSettings(target=running.target)) as opened:
        yield pb_grpc.WorkflowServiceStub(opened)


async def add_tool(running: Engine, name: str, url: str) -> None:
    """A tool that is `POST url`."""
    async with channel(ClientSettings(target=running.registry.address)) as opened:
        registry: tools_grpc.ToolRegistryServiceAsyncStub = tools_grpc.ToolRegistryServiceStub(
            opened
        )
        tool = tools_pb.Tool(name=name, version="1.0.0", description="Counts.", is_idempotent=True)
        tool.input_schema.update({"type": "object"})
        tool.http.method, tool.http.url = "POST", url
        await registry.RegisterTool(tools_pb.RegisterToolRequest(tool=tool), timeout=5)


async def define(running: Engine, yaml: str) -> None:
    """A definition."""
    async with channel(ClientSettings(target=running.target)) as opened:
        definitions: definitions_grpc.DefinitionServiceAsyncStub = (
            definitions_grpc.DefinitionServiceStub(opened)
        )
        request = definitions_pb.CreateDefinitionRequest(yaml=yaml)
        await patiently(lambda: definitions.CreateDefinition(request, timeout=10))
