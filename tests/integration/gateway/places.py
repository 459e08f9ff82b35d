"""The edge with a real orchestrator behind it, and a tool registry that does as tests say."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import grpc
import mcp
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct
from runplane.orchestrator.v1 import agents_pb2
from runplane.tool_registry.v1 import resources_pb2 as pb
from runplane.tool_registry.v1 import resources_pb2_grpc as pb_grpc

from gateway.app import running
from gateway.settings import Settings
from services.chassis.errors import InvalidArgument, NotFound
from services.chassis.settings import ClientSettings
from tests.integration.orchestrator.conftest import Suite, started
from tests.servers.registry import Registry, registry

Wire = dict[str, Any]
QUESTION: Wire = {
    "method": "elicitation/create",
    "params": {
        "mode": "form",
        "message": "Who?",
        "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}},
    },
}
# What tests do to the registry is seen at once.
AT_ONCE: Wire = {"list_ttl": timedelta(0), "call_ttl": timedelta(0)}


def packed(value: Mapping[str, object]) -> Struct:
    """An object, as messages have it."""
    return ParseDict(value, Struct())


@dataclass
class Imported(pb_grpc.ResourceServiceServicer):
    """Resources and prompts of servers. The one named `asking` asks before it answers."""

    resources: dict[str, Wire] = field(default_factory=dict)
    """Contents, by URI."""
    prompts: dict[str, Wire] = field(default_factory=dict)
    """Prompts, by name."""
    requests: list[Any] = field(default_factory=list)

    def register(self, server: grpc.aio.Server) -> None:
        """Serve this, too."""
        pb_grpc.add_ResourceServiceServicer_to_server(self, server)

    async def ListResources(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Two on a page."""
        uris = [uri for uri in sorted(self.resources) if uri > request.page_token]
        shown = [packed({"uri": uri, "name": uri.rpartition("/")[2]}) for uri in uris[:2]]
        token = uris[1] if len(uris) > 2 else ""
        return pb.ListResourcesResponse(resources=shown, next_page_token=token)

    async def ListResourceTemplates(self, request: Any, context: Any) -> Any:  # noqa: N802
        """One."""
        _check(request.page_token)
        template = packed({"uriTemplate": "test://{name}", "name": "any"})
        return pb.ListResourceTemplatesResponse(resource_templates=[template])

    async def ReadResource(self, request: Any, context: Any) -> Any:  # noqa: N802
        """What a test says that it holds."""
        self.requests.append(request)
        if request.uri not in self.resources:
            raise NotFound("RESOURCE_NOT_FOUND", f"there is no resource {request.uri}")
        if request.uri.endswith("/asking") and not request.HasField("input_responses"):
            return pb.ReadResourceResponse(input_requests=packed({"who": QUESTION}))
        content = {"uri": request.uri, **self.resources[request.uri]}
        return pb.ReadResourceResponse(contents=[packed(content)])

    async def ListPrompts(self, request: Any, context: Any) -> Any:  # noqa: N802
        """All."""
        _check(request.page_token)
        shown = [packed({"name": name, **prompt}) for name, prompt in sorted(self.prompts.items())]
        return pb.ListPromptsResponse(prompts=shown)

    async def GetPrompt(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Its arguments, as one message."""
        self.requests.append(request)
        if request.name not in self.prompts:
            raise NotFound("PROMPT_NOT_FOUND", f"there is no prompt {request.name}")
        if request.name.endswith("asking") and not request.HasField("input_responses"):
            return pb.GetPromptResponse(
                input_requests=packed({"who": QUESTION}), request_state="state"
            )
        said = str(dict(request.arguments) or MessageToDict(request.input_responses))
        message = {"role": "user", "content": {"type": "text", "text": said}}
        return pb.GetPromptResponse(description="A prompt", messages=[packed(message)])

    async def Complete(self, request: Any, context: Any) -> Any:  # noqa: N802
        """What was typed, and more."""
        self.requests.append(request)
        return pb.CompleteResponse(values=[f"{request.value}is", f"{request.value}ty"], total=2)


def _check(token: str) -> None:
    """Refuse a page that nobody was told of."""
    if token:
        raise InvalidArgument("PAGE_TOKEN_INVALID", "page_token does not belong to this request")


@dataclass(frozen=True)
class Place:
    """All of it."""

    url: str
    """The edge."""
    tools: Registry
    imported: Imported
    behind: Suite
    admin: str
    """The edge's admin port."""

    @property
    def mcp(self) -> str:
        """Where MCP clients go."""
        return f"{self.url}/mcp"

    async def agent(self, name: str, **fields: Any) -> None:
        """Make an agent."""
        agent = agents_pb2.Agent(agent_id=name, **fields)
        await self.behind.agents.CreateAgent(agents_pb2.CreateAgentRequest(agent=agent), timeout=5)


def reset(place: Place) -> None:
    """Forget what tests before did to the registry."""
    for each in (place.tools.tools, place.tools.answers, place.tools.called):
        each.clear()
    for of_imported in (
        place.imported.resources,
        place.imported.prompts,
        place.imported.requests,
    ):
        of_imported.clear()


def client(place: Place, mode: str = "2026-07-28", **options: Any) -> mcp.Client:
    """The SDK's own client, which keeps nothing."""
    return mcp.Client(place.mcp, mode=mode, cache=None, **options)


@asynccontextmanager
async def placed(**settings: Any) -> AsyncIterator[Place]:
    """Run it. `settings` override the edge's."""
    imported = Imported()
    async with AsyncExitStack() as stack:
        tools = await stack.enter_async_context(registry(imported.register))
        behind = await stack.enter_async_context(started(registry_target=tools.address))
        values: dict[str, Any] = {
            "listen": "127.0.0.1:0",
            "grace": timedelta(0),
            "tool_registry": ClientSettings(target=tools.address),
            "orchestrator": ClientSettings(target=behind.address),
            "mcp": AT_ONCE,
            "page_token_key": "11" * 32,
            **settings,
        }
        edge = await stack.enter_async_context(running(Settings(**values)))
        yield Place(f"http://{edge.address}", tools, imported, behind, f"http://{edge.admin}")
