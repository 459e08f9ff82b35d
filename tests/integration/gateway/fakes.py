"""The services behind the edge, as far as its tests need them: canned answers over real gRPC."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.struct_pb2 import Struct, Value
from grpc_health.v1 import health_pb2_grpc
from runplane.inference.v1 import inference_pb2, inference_pb2_grpc, models_pb2_grpc
from runplane.orchestrator.v1 import (
    agents_pb2_grpc,
    orchestrator_pb2,
    orchestrator_pb2_grpc,
)
from runplane.tool_registry.v1 import (
    resources_pb2,
    resources_pb2_grpc,
    servers_pb2_grpc,
    tool_registry_pb2,
    tool_registry_pb2_grpc,
)
from runplane.workflow.v1 import workflow_pb2_grpc

from gateway.app import running
from gateway.settings import Settings
from services.chassis.interceptors import Boundary
from services.chassis.server import Health, Running
from services.chassis.settings import ClientSettings


class Workflows(workflow_pb2_grpc.WorkflowServiceServicer):
    """Has no workflows: it is there, and offers nothing."""


@dataclass
class Script:
    """What the fakes do next, and what they saw."""

    error: BaseException | None = None
    """Raised by the next calls."""
    error_after: int | None = None
    """In a stream: after how many messages to raise it; None means at once."""
    abort: tuple[grpc.StatusCode, str] | None = None
    """A bare status that the next unary calls end with."""
    messages: int = 3
    text: str = "hello"
    hangs: bool = False
    """Whether calls wait to be cancelled, a stream after its messages."""
    requests: list[Any] = field(default_factory=list)
    metadata: list[dict[str, str | bytes]] = field(default_factory=list)
    remaining: list[float | None] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    """Lets a hanging call go on."""
    reads: asyncio.Event = field(default_factory=asyncio.Event)
    """Whether a conversation reads after its first message. It does unless a test clears it."""
    sent: list[int] = field(default_factory=list)
    """How many messages each stream has sent, in the order they began."""

    def __post_init__(self) -> None:
        self.reads.set()

    def reset(self) -> None:
        """Forget everything."""
        vars(self).update(vars(Script()))

    def note(self, request: Any, context: Any) -> None:
        """Remember a call."""
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        self.remaining.append(context.time_remaining())
        self.arrived.set()

    async def unary(self, request: Any, context: Any) -> None:
        """What every unary fake does first."""
        self.note(request, context)
        if self.hangs:
            await self.hang()
        if self.abort is not None:
            await context.abort(*self.abort)
        if self.error is not None:
            raise self.error

    async def hang(self) -> None:
        """Wait for release, and tell when cancelled instead."""
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


class Inference(inference_pb2_grpc.InferenceServiceServicer):
    """Echoes, streams and pages."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def Generate(self, request: Any, context: Any) -> Any:
        await self._script.unary(request, context)
        return inference_pb2.GenerateResponse(id="req_1", status="completed", text="hi")

    async def StreamGenerate(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self._script.note(request, context)
        for number in range(1, self._script.messages + 1):
            yield inference_pb2.StreamGenerateResponse(
                type="delta", sequence=number, id="req_1", text=self._script.text
            )

    async def CountTokens(self, request: Any, context: Any) -> Any:
        await self._script.unary(request, context)
        return inference_pb2.CountTokensResponse(prompt_tokens=len(request.messages))


class Models(models_pb2_grpc.ModelServiceServicer):
    """Pages, and gives back what it is asked for."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def ListModels(self, request: Any, context: Any) -> Any:
        await self._script.unary(request, context)
        return inference_pb2.ListModelsResponse(next_page_token=request.page_token)

    async def GetModel(self, request: Any, context: Any) -> Any:
        await self._script.unary(request, context)
        return inference_pb2.Model(name=request.name)


class Orchestrator(orchestrator_pb2_grpc.OrchestratorServiceServicer):
    """Answers with the query; streams as many deltas as the script says."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def Invoke(self, request: Any, context: Any) -> Any:
        await self._script.unary(request, context)
        return orchestrator_pb2.InvokeResponse(
            task_id="task_1", status="completed", result=request.query
        )

    async def StreamInvoke(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self._script.note(request, context)
        async for event in self._events(0):
            yield event

    async def WatchTask(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self._script.note(request, context)
        async for event in self._events(request.after_sequence):
            yield event

    async def Converse(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        """Answer a start or a join with as many deltas as the script says, any other message with
        one of its kind; end after a cancel."""
        try:
            async for request in requests:
                async for event in self._reply(request, context):
                    yield event
                if request.WhichOneof("message") == "cancel":
                    return
                await self._script.reads.wait()
        except (asyncio.CancelledError, GeneratorExit):  # It may be sending just then.
            self._script.cancelled.set()
            raise

    async def _reply(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self._script.note(request, context)
        kind = request.WhichOneof("message")
        if kind in {"start", "join"}:
            async for event in self._events(request.join.after_sequence):
                yield event
        else:
            yield orchestrator_pb2.TaskEvent(
                type=kind or "nothing", task_id="task_1", text=request.user_message.text
            )

    async def GetTask(self, request: Any, context: Any) -> Any:
        await self._script.unary(request, context)
        return orchestrator_pb2.Task(task_id=request.task_id)

    async def CancelTask(self, request: Any, context: Any) -> Any:
        await self._script.unary(request, context)
        return orchestrator_pb2.Task(task_id=request.task_id, status="canceled")

    async def _events(self, after: int) -> AsyncIterator[Any]:
        script = self._script
        if script.error is not None and script.error_after is None:
            raise script.error
        stream = len(script.sent)
        script.sent.append(0)
        for number in range(after + 1, after + script.messages + 1):
            if script.error is not None and number - after > (script.error_after or 0):
                raise script.error
            yield orchestrator_pb2.TaskEvent(
                type="message_delta", task_id="task_1", sequence=number, text=script.text
            )
            script.sent[stream] += 1
        if script.hangs:
            await script.hang()


class Agents(agents_pb2_grpc.AgentServiceServicer):
    """Answers with the agent that came."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def CreateAgent(self, request: Any, context: Any) -> Any:
        await self._script.unary(request, context)
        return request.agent

    async def UpdateAgent(self, request: Any, context: Any) -> Any:
        await self._script.unary(request, context)
        return request.agent

    async def DeleteAgent(self, request: Any, context: Any) -> Any:
        await self._script.unary(request, context)
        return Empty()


class ToolRegistry(tool_registry_pb2_grpc.ToolRegistryServiceServicer):
    """Answers a call with its input."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def ListTools(self, request: Any, context: Any) -> Any:
        await self._script.unary(request, context)
        return tool_registry_pb2.ListToolsResponse()

    async def GetTool(self, request: Any, context: Any) -> Any:
        await self._script.unary(request, context)
        return tool_registry_pb2.Tool(name=request.name)

    async def CallTool(self, request: Any, context: Any) -> Any:
        await self._script.unary(request, context)
        return tool_registry_pb2.CallToolResponse(
            tool_name=request.name, status="success", result=Value(struct_value=request.input)
        )


class McpServers(servers_pb2_grpc.McpServerServiceServicer):
    """Answers with the server that came."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def RegisterMcpServer(self, request: Any, context: Any) -> Any:
        await self._script.unary(request, context)
        return request.server

    async def DeleteMcpServer(self, request: Any, context: Any) -> Any:
        await self._script.unary(request, context)
        return Empty()


class Resources(resources_pb2_grpc.ResourceServiceServicer):
    """Answers a read with its URI, and a completion with its value."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def ReadResource(self, request: Any, context: Any) -> Any:
        await self._script.unary(request, context)
        contents = Struct()
        contents.update({"uri": request.uri, "text": "hello"})
        return resources_pb2.ReadResourceResponse(contents=[contents])

    async def Complete(self, request: Any, context: Any) -> Any:
        await self._script.unary(request, context)
        return resources_pb2.CompleteResponse(values=[request.value], total=1)


@dataclass(frozen=True)
class Suite:
    """The edge over fakes."""

    script: Script
    edge: Running
    services: dict[str, Running]

    @property
    def port(self) -> int:
        """Where the edge listens."""
        return int(self.edge.address.rpartition(":")[2])


@asynccontextmanager
async def _serve(name: str, script: Script) -> AsyncIterator[Running]:
    servicers: dict[str, tuple[Any, Any, str]] = {
        "inference": (
            inference_pb2_grpc.add_InferenceServiceServicer_to_server,
            Inference(script),
            "InferenceService",
        ),
        "orchestrator": (
            orchestrator_pb2_grpc.add_OrchestratorServiceServicer_to_server,
            Orchestrator(script),
            "OrchestratorService",
        ),
        "tool_registry": (
            tool_registry_pb2_grpc.add_ToolRegistryServiceServicer_to_server,
            ToolRegistry(script),
            "ToolRegistryService",
        ),
        "workflow": (
            workflow_pb2_grpc.add_WorkflowServiceServicer_to_server,
            Workflows(),
            "WorkflowService",
        ),
    }
    add, servicer, service = servicers[name]
    boundary = Boundary(domain=f"{name.replace('_', '-')}.runplane.dev", timeout=timedelta(60))
    server = grpc.aio.server()
    health = Health([f"runplane.{name}.v1.{service}"])
    add(servicer, boundary.before(server))
    if name == "inference":
        models_pb2_grpc.add_ModelServiceServicer_to_server(Models(script), boundary.before(server))
    if name == "orchestrator":
        agents_pb2_grpc.add_AgentServiceServicer_to_server(Agents(script), boundary.before(server))
    if name == "tool_registry":
        servers_pb2_grpc.add_McpServerServiceServicer_to_server(
            McpServers(script), boundary.before(server)
        )
        resources_pb2_grpc.add_ResourceServiceServicer_to_server(
            Resources(script), boundary.before(server)
        )
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await health.set_serving(True)
    try:
        yield Running(f"127.0.0.1:{port}", "", health)
    finally:
        await server.stop(0)


@asynccontextmanager
async def suite(script: Script | None = None, **settings: Any) -> AsyncIterator[Suite]:
    """Run the edge over fakes. `settings` override the edge's own."""
    script = script or Script()
    async with AsyncExitStack() as stack:
        services = {
            name: await stack.enter_async_context(_serve(name, script))
            for name in ("inference", "orchestrator", "tool_registry", "workflow")
        }
        targets = {name: ClientSettings(target=each.address) for name, each in services.items()}
        values: dict[str, Any] = {
            "listen": "127.0.0.1:0",
            "grace": timedelta(0),
            "page_token_key": "11" * 32,
            **targets,
            **settings,
        }
        edge = await stack.enter_async_context(running(Settings(**values)))
        yield Suite(script, edge, services)
