"""Those who listen while services come and go."""

import asyncio
from typing import Any, cast

import pytest
from mcp_types import SubscriptionFilter, SubscriptionsListenRequestParams

from gateway.endpoints import Edge
from gateway.mcp import client, listening, refusals
from gateway.mcp.catalog import Catalog
from gateway.mcp.listening import Listeners
from gateway.mcp.rpc import Services
from gateway.mcp.tasks import Tasks
from gateway.settings import Settings
from gateway.traffic import Traffic
from services.chassis.context import local_context
from services.chassis.errors import Unavailable


class Who:
    """A caller of the default tenant."""

    tenant = "default"


class Away:
    """Tasks at an orchestrator that is away for a moment, between two questions."""

    def __init__(self) -> None:
        self.statuses = iter(["running", "completed"])
        self.status = "running"
        self.is_away = True

    async def found(self, caller: object, task_id: str) -> dict[str, Any]:
        self.status = next(self.statuses, self.status)
        return {"status": self.status}

    async def shown(self, caller: object, task_id: str) -> dict[str, Any]:
        if self.is_away:
            self.is_away = False
            raise refusals.from_error(Unavailable("AWAY", "it starts"), local_context())
        return {"taskId": task_id, "status": self.status}


class Heard:
    """A request's context, and what its client is sent."""

    def __init__(self) -> None:
        self.session = self
        self.sent: asyncio.Queue[Any] = asyncio.Queue()
        self.request_id = 1
        self.request = type("Request", (), {"scope": {client.CALLER: Who()}})
        self.protocol_version = "2026-07-28"
        extensions = {"extensions": {client.TASKS: {}}}
        self.params = {"_meta": {"io.modelcontextprotocol/clientCapabilities": extensions}}

    async def send_notification(self, notification: Any, related_request_id: object) -> None:
        self.sent.put_nowait(notification)


async def test_a_change_is_told_when_its_service_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "EVERY", 0.01)
    edge = Edge(
        Settings(page_token_key="11" * 32),
        Traffic(cast("asyncio.TaskGroup", None), max_requests=1),
    )
    lists = ("ResourceService/ListPrompts", "ResourceService/ListResources")
    services = dict.fromkeys((*lists, "OrchestratorService/GetTask"))
    listeners = Listeners(
        cast("Services", services), cast("Catalog", None), cast("Tasks", Away()), edge
    )
    wanted = SubscriptionFilter.model_validate({"taskIds": ["task_1"]})
    heard = Heard()

    listens = asyncio.ensure_future(
        listeners.listen(cast("Any", heard), SubscriptionsListenRequestParams(notifications=wanted))
    )
    async with asyncio.timeout(5):
        methods = [(await heard.sent.get()).method for _ in range(2)]
    listens.cancel()
    await asyncio.wait([listens])

    assert methods == ["notifications/subscriptions/acknowledged", "notifications/tasks"]
