"""All services and the edge in one process, and what their admin ports show."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx2
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families as families

from gateway.app import running as edge_running
from gateway.settings import Settings as EdgeSettings
from services.chassis.server import Running
from services.chassis.settings import ClientSettings, ServerSettings, SharedSettings
from services.inference.app import running as inference_running
from services.inference.settings import Settings as InferenceSettings
from services.orchestrator.app import running as orchestrator_running
from services.orchestrator.settings import Settings as OrchestratorSettings
from services.tool_registry.app import running as tool_registry_running
from services.tool_registry.settings import Settings as ToolRegistrySettings
from services.workflow.app import running as workflow_running
from services.workflow.settings import Settings as WorkflowSettings
from tests.integration.gateway.rpc import headers, message

LOOPBACK = ServerSettings(listen="127.0.0.1:0", admin="127.0.0.1:0", grace=1)
SHARED = SharedSettings(page_token_key="00" * 32)


@dataclass(frozen=True)
class Suite:
    """A suite that is ready."""

    services: dict[str, Running]
    http: httpx2.AsyncClient
    """Of its edge."""

    async def page(self, service: str, accept: str = "text/plain") -> str:
        """What the service shows."""
        url = f"http://{self.services[service].admin}/metrics"
        return (await self.http.get(url, headers={"accept": accept})).text

    async def shown(self) -> dict[str, list[Metric]]:
        """What each of them shows."""
        return {name: [*families(await self.page(name))] for name in self.services}


@asynccontextmanager
async def suite() -> AsyncIterator[Suite]:
    """A suite with the echo engine, and nothing on disk."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        inference = InferenceSettings(engine="echo", server=LOOPBACK)
        services = {
            "inference": await enter(inference_running(inference, SHARED)),
            "tool_registry": await enter(
                tool_registry_running(ToolRegistrySettings(server=LOOPBACK), SHARED)
            ),
        }
        peers = {name: ClientSettings(target=each.address) for name, each in services.items()}
        orchestrator = OrchestratorSettings(server=LOOPBACK, mark_key="00" * 32, **peers)
        services["orchestrator"] = await enter(orchestrator_running(orchestrator, SHARED))
        peers["orchestrator"] = ClientSettings(target=services["orchestrator"].address)
        workflow = WorkflowSettings(
            server=LOOPBACK,
            orchestrator=peers["orchestrator"],
            tool_registry=peers["tool_registry"],
        )
        services["workflow"] = await enter(workflow_running(workflow, SHARED))
        peers["workflow"] = ClientSettings(target=services["workflow"].address)
        settings = EdgeSettings(
            listen="127.0.0.1:0", admin="127.0.0.1:0", page_token_key="00" * 32, **peers
        )
        services["gateway"] = await enter(edge_running(settings))
        edge = f"http://{services['gateway'].address}"
        yield Suite(services, await enter(httpx2.AsyncClient(base_url=edge, timeout=20)))


async def called_over_mcp(suite: Suite, name: str, arguments: dict[str, str]) -> httpx2.Response:
    """Call a tool over MCP."""
    sent = message("tools/call", {"name": name, "arguments": arguments}, number=name)
    return await suite.http.post("/mcp", json=sent, headers=headers(sent))


async def used(suite: Suite) -> None:
    """Have it do a little of everything."""
    query = 'tool:calculator {"expression": "12*7"}'
    asked = await suite.http.post("/v1/agent/invoke", json={"query": query})
    assert asked.json()["status"] == "completed", asked.text
    called = await suite.http.post(
        "/v1/tools/calculator:call", json={"input": {"expression": "1+1"}}
    )
    assert called.json()["status"] == "success", called.text
    over_mcp = await called_over_mcp(suite, "calculator", {"expression": "2+2"})
    assert over_mcp.json()["result"]["isError"] is False, over_mcp.text
    yaml = "name: signed\nstate_machine:\n  draft: {transitions: [done]}\n"
    await suite.http.post("/v1/definitions", json={"yaml": yaml})
    started = await suite.http.post("/v1/workflows", json={"definition": "signed"})
    assert started.status_code == 200, started.text
    path = f"/v1/workflows/{started.json()['workflow_id']}:signal"
    signalled = await suite.http.post(path, json={"target": "done"})
    assert signalled.json()["status"] == "completed", signalled.text
    await asyncio.sleep(0)
