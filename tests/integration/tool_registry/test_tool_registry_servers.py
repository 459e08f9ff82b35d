"""MCP servers, their tools, resources and prompts over the registry's own socket."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from runplane.tool_registry.v1 import (
    resources_pb2,
    resources_pb2_grpc,
    servers_pb2,
    servers_pb2_grpc,
    tool_registry_pb2,
    tool_registry_pb2_grpc,
)

from services.chassis import structs
from services.chassis.egress.settings import EgressSettings
from services.chassis.settings import SharedSettings
from services.tool_registry.app import running
from services.tool_registry.settings import McpSettings, Settings
from tests.integration.tool_registry.conftest import LOOPBACK, SHARED, Fault, fault_of
from tests.integration.tool_registry.liar import liar
from tests.integration.tool_registry.mcp_server import everything, over_http
from tests.integration.tool_registry.world import eventually

SETTINGS = Settings(
    server=LOOPBACK,
    egress=EgressSettings(allow="127.0.0.0/8"),
    mcp=McpSettings(stdio=True),
)
PROGRAM = servers_pb2.StdioCommand(
    program=sys.executable, arguments=[str(Path(__file__).with_name("mcp_server.py"))]
)


@dataclass(frozen=True)
class Client:
    """The registry's services."""

    servers: Any
    resources: Any
    tools: Any

    async def register(self, namespace: str, **where: Any) -> servers_pb2.McpServer:
        """Register a server."""
        server = servers_pb2.McpServer(namespace=namespace, **where)
        request = servers_pb2.RegisterMcpServerRequest(server=server)
        return await self.servers.RegisterMcpServer(request, timeout=15)

    async def call(self, name: str, **arguments: object) -> tool_registry_pb2.CallToolResponse:
        """Call a tool."""
        request = tool_registry_pb2.CallToolRequest(name=name)
        structs.from_dict(arguments, request.input)
        return await self.tools.CallTool(request, timeout=10)

    async def tool_names(self) -> list[str]:
        """Of all MCP tools."""
        listed = await self.tools.ListTools(
            tool_registry_pb2.ListToolsRequest(page_size=100), timeout=5
        )
        return [tool.name for tool in listed.tools if tool.kind == tool_registry_pb2.TOOL_KIND_MCP]


@asynccontextmanager
async def client(
    settings: Settings = SETTINGS, shared: SharedSettings = SHARED
) -> AsyncIterator[Client]:
    async with (
        running(settings, shared) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield Client(
            servers_pb2_grpc.McpServerServiceStub(channel),
            resources_pb2_grpc.ResourceServiceStub(channel),
            tool_registry_pb2_grpc.ToolRegistryServiceStub(channel),
        )


async def fault(call: Any) -> Fault:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return fault_of(caught.value)


async def test_a_server_is_registered_shown_and_deleted() -> None:
    named = servers_pb2.GetMcpServerRequest(namespace="e")

    async with over_http(everything()) as url, client() as registry:
        registered = await registry.register("e", url=url, tags=["sums"], timeout_ms=5000)
        shown = await registry.servers.GetMcpServer(named)
        listed = await registry.servers.ListMcpServers(servers_pb2.ListMcpServersRequest())
        names = await registry.tool_names()
        await registry.servers.DeleteMcpServer(servers_pb2.DeleteMcpServerRequest(namespace="e"))
        missing = await fault(registry.servers.GetMcpServer(named))
        left = await registry.tool_names()

    assert registered == shown == listed.servers[0]
    assert registered.state == servers_pb2.MCP_SERVER_STATE_CONNECTED
    assert (registered.url, registered.timeout_ms, list(registered.tags)) == (url, 5000, ["sums"])
    assert (registered.protocol_version, registered.server_name) == ("2026-07-28", "everything")
    assert registered.tool_count == len(names) > 5
    assert registered.HasField("create_time")
    assert registered.HasField("refresh_time")
    assert missing.info.reason == "MCP_SERVER_NOT_FOUND"
    assert left == []


async def test_a_servers_tool_is_one_like_any_other() -> None:
    request = tool_registry_pb2.GetToolRequest(name="e__add")

    async with over_http(everything()) as url, client() as registry:
        await registry.register("e", url=url, requires_approval=True)
        tool = await registry.tools.GetTool(request)
        answer = await registry.call("e__add", a=2, b=3)
        failed = await registry.call("e__fail")
        wrong = await fault(registry.call("e__add", a="two", b=3))

    assert (tool.version, tool.title, tool.is_idempotent) == ("1.0.0", "Add two numbers", True)
    assert tool.requires_approval
    assert (tool.mcp.server, tool.mcp.tool) == ("e", "add")
    assert structs.to_value(answer.result) == {"sum": 5}
    assert (failed.status, failed.error.reason) == ("error", "MCP_TOOL_ERROR")
    assert wrong.info.reason == "TOOL_INPUT_INVALID"


async def test_a_registration_with_a_key_can_be_sent_again() -> None:
    async with liar() as server, client() as registry:
        asked = servers_pb2.RegisterMcpServerRequest(
            server={"namespace": "x", "url": server.url}, idempotency_key="once"
        )
        first = await registry.servers.RegisterMcpServer(asked)
        again = await registry.servers.RegisterMcpServer(asked)
        asked.server.tags.append("other")
        reused = await fault(registry.servers.RegisterMcpServer(asked))
        await registry.servers.DeleteMcpServer(servers_pb2.DeleteMcpServerRequest(namespace="x"))
        del asked.server.tags[:]
        deleted = await fault(registry.servers.RegisterMcpServer(asked))

    assert first == again
    assert (reused.code, reused.info.reason) == (
        grpc.StatusCode.ALREADY_EXISTS,
        "IDEMPOTENCY_KEY_REUSED",
    )
    assert (deleted.code, deleted.info.reason) == (
        grpc.StatusCode.NOT_FOUND,
        "MCP_SERVER_NOT_FOUND",
    )
    assert deleted.info.metadata["field"] == "idempotency_key"


async def test_fields_of_a_server_are_replaced() -> None:
    async with liar() as one, liar() as two, client() as registry:
        await registry.register("x", url=one.url, tags=["a"], timeout_ms=5000)
        changed = await registry.servers.UpdateMcpServer(
            servers_pb2.UpdateMcpServerRequest(
                namespace="x",
                server={"url": two.url, "timeout_ms": 7000, "tags": ["b"]},
                update_mask=["url", "tags"],
            )
        )
        unmasked = await registry.servers.UpdateMcpServer(
            servers_pb2.UpdateMcpServerRequest(namespace="x", server={"requires_approval": True})
        )
        shown = await registry.servers.GetMcpServer(servers_pb2.GetMcpServerRequest(namespace="x"))

    assert (changed.url, changed.timeout_ms, list(changed.tags)) == (two.url, 5000, ["b"])
    assert changed.state == servers_pb2.MCP_SERVER_STATE_CONNECTED
    assert (unmasked.url, unmasked.requires_approval) == (two.url, True)
    assert shown.create_time == changed.create_time
    assert shown == unmasked


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"update_mask": ["state"]}, "INVALID_REQUEST", "update_mask[0]"),
        ({"update_mask": ["tags"] * 33}, "INVALID_REQUEST", "update_mask"),
        ({"update_mask": ["url"]}, "INVALID_REQUEST", "server.url"),
        ({"update_mask": ["command"]}, "INVALID_REQUEST", "server.command"),
        ({"server": {"namespace": "y"}}, "INVALID_REQUEST", "server.namespace"),
        ({"server": {"tags": ["No Tag"]}}, "INVALID_REQUEST", "server.tags"),
        ({"server": {"url": "http://169.254.169.254/"}}, "TARGET_REFUSED", "server.url"),
        ({"namespace": "y"}, "MCP_SERVER_NOT_FOUND", "namespace"),
    ],
)
async def test_a_change_that_cannot_be_is_refused_and_changes_nothing(
    change: dict[str, Any], reason: str, field: str
) -> None:
    async with liar() as server, client() as registry:
        before = await registry.register("x", url=server.url)
        asked = servers_pb2.UpdateMcpServerRequest(**{"namespace": "x", **change})
        error = await fault(registry.servers.UpdateMcpServer(asked))
        after = await registry.servers.GetMcpServer(servers_pb2.GetMcpServerRequest(namespace="x"))

    assert (error.info.reason, error.info.metadata["field"]) == (reason, field)
    assert after == before


async def test_everything_is_there_again_after_a_restart(tmp_path: Path) -> None:
    shared = SHARED.model_copy(update={"event_store": f"sqlite:///{tmp_path}"})

    async with client(shared=shared) as registry:
        await registry.register("e", command=PROGRAM)
    async with client(shared=shared) as registry:
        names = await registry.tool_names()
        answer = await registry.call("e__add", a=2, b=3)

    assert "e__add" in names
    assert structs.to_value(answer.result) == {"sum": 5}


async def test_what_a_server_has_beside_tools_is_served_on() -> None:
    async with over_http(everything()) as url, client() as registry:
        await registry.register("e", url=url)
        resources = registry.resources
        page = await resources.ListResources(resources_pb2.ListResourcesRequest(page_size=1))
        rest = await resources.ListResources(
            resources_pb2.ListResourcesRequest(page_size=1, page_token=page.next_page_token)
        )
        templates = await resources.ListResourceTemplates(
            resources_pb2.ListResourceTemplatesRequest()
        )
        note = await resources.ReadResource(resources_pb2.ReadResourceRequest(uri="notes://4/text"))
        prompts = await resources.ListPrompts(resources_pb2.ListPromptsRequest())
        prompt = await resources.GetPrompt(
            resources_pb2.GetPromptRequest(name="e__summary", arguments={"topic": "birds"})
        )
        completed = await resources.Complete(
            resources_pb2.CompleteRequest(prompt="e__summary", argument="style", value="lo")
        )

    assert [page.resources[0]["uri"], rest.resources[0]["uri"]] == [
        "notes://first",
        "notes://large",
    ]
    assert rest.next_page_token == ""
    assert templates.resource_templates[0]["uriTemplate"] == "notes://{number}/text"
    assert note.contents[0]["text"] == "note 4"
    assert prompts.prompts[0]["name"] == "e__summary"
    assert "birds" in prompt.messages[0]["content"]["text"]
    assert list(completed.values) == ["long"]


@pytest.mark.parametrize(
    ("server", "field"),
    [
        ({"namespace": "", "url": "http://127.0.0.1:1/mcp"}, "server.namespace"),
        ({"namespace": "a__b", "url": "http://127.0.0.1:1/mcp"}, "server.namespace"),
        ({"namespace": "agent", "url": "http://127.0.0.1:1/mcp"}, "server.namespace"),
        ({"namespace": "x"}, "server.url"),
        ({"namespace": "x", "url": "ftp://host/"}, "server.url"),
        ({"namespace": "x", "url": "http://user:pass@host/"}, "server.url"),
        ({"namespace": "x", "url": "http://host:99999/"}, "server.url"),
        ({"namespace": "x", "url": "http://h/" + "x" * 3000}, "server.url"),
        ({"namespace": "x", "url": "http://h/", "secret": "../etc"}, "server.secret"),
        ({"namespace": "x", "url": "http://h/", "tags": ["No Tag"]}, "server.tags"),
        ({"namespace": "x", "url": "http://h/", "timeout_ms": -1}, "server.timeout_ms"),
        ({"namespace": "x", "url": "http://h/", "timeout_ms": 1e300}, "server.timeout_ms"),
        ({"namespace": "x", "command": servers_pb2.StdioCommand()}, "server.command.program"),
        (
            {
                "namespace": "x",
                "command": servers_pb2.StdioCommand(program="p", arguments=["a\0b"]),
            },
            "server.command.arguments",
        ),
        (
            {
                "namespace": "x",
                "command": servers_pb2.StdioCommand(program="p", environment={"A=B": "c"}),
            },
            "server.command.environment",
        ),
        (
            {"namespace": "x", "command": PROGRAM, "secret": "token"},
            "server.secret",
        ),
    ],
)
async def test_a_server_that_cannot_be_is_refused(server: dict[str, Any], field: str) -> None:
    async with client() as registry:
        error = await fault(registry.register(**server))
        listed = await registry.servers.ListMcpServers(servers_pb2.ListMcpServersRequest())

    assert (error.code, error.info.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_REQUEST",
    )
    assert error.info.metadata["field"] == field
    assert error.info.metadata["suggested_fix"]
    assert not listed.servers


async def test_without_settings_nothing_of_this_machine_is_reached() -> None:
    async with liar() as server, client(Settings(server=LOOPBACK)) as registry:
        address = await fault(registry.register("x", url=server.url))
        program = await fault(registry.register("x", command=PROGRAM))

    assert (address.code, address.info.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "TARGET_REFUSED",
    )
    assert "TOOL_REGISTRY_EGRESS__ALLOW" in address.info.metadata["suggested_fix"]
    assert (program.code, program.info.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "MCP_STDIO_OFF",
    )


async def test_a_tool_of_a_server_is_not_registered_by_hand() -> None:
    tool = tool_registry_pb2.Tool(
        name="mine", mcp={"server": "e", "tool": "add"}, description="Mine."
    )

    async with client() as registry:
        request = tool_registry_pb2.RegisterToolRequest(tool=tool)
        error = await fault(registry.tools.RegisterTool(request))

    assert error.code == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_tool_whose_server_is_gone_says_so() -> None:
    request = tool_registry_pb2.GetToolRequest(name="x__lie")

    async with client() as registry:
        async with liar() as server:
            await registry.register("x", url=server.url)
        error = await fault(registry.call("x__lie"))

        async def is_told() -> bool:
            return bool((await registry.tools.GetTool(request)).unavailable)

        await eventually(is_told)
        tool = await registry.tools.GetTool(request)

    assert (error.code, error.info.reason) == (grpc.StatusCode.UNAVAILABLE, "TOOL_UNAVAILABLE")
    assert error.retry_after_seconds > 0
    assert "cannot be reached" in tool.unavailable
