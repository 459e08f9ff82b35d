"""An orchestrator with a tool registry of which tests decide what it does."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from services.chassis.settings import SharedSettings
from services.orchestrator.settings import TaskSettings
from tests.integration.orchestrator.conftest import SHARED, Suite, started
from tests.servers.registry import Registry, registry

BRIEFLY = TaskSettings(linger=timedelta(milliseconds=20))
"""How long a task that waits is kept at hand, where a test waits until it is not."""


@dataclass(frozen=True)
class Place:
    """A suite, and the registry that it asks."""

    suite: Suite
    tools: Registry

    async def ran(self, query: str, *, metadata: Any = None, **fields: Any) -> Any:
        """A task's log."""
        request = pb.InvokeRequest(query=query, **fields)
        events = self.suite.stub.StreamInvoke(request, timeout=10, metadata=metadata)
        return [event async for event in events]

    def versions(self) -> Sequence[str]:
        """In which versions tools were called."""
        return [each.request.version for each in self.tools.called]


@asynccontextmanager
async def placed(
    tasks: TaskSettings | None = None, *, shared: SharedSettings = SHARED
) -> AsyncIterator[Place]:
    """Both, with no tools yet."""
    async with (
        registry() as tools,
        started(tasks, registry_target=tools.address, shared=shared) as suite,
    ):
        yield Place(suite, tools)
