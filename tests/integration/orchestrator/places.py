"""An orchestrator with a tool registry of which tests decide what it does."""

import asyncio
import logging
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

RUNS = logging.getLogger("services.orchestrator.run")
BRIEFLY = TaskSettings(linger=timedelta(milliseconds=20))
"""How long a task that waits is kept at hand, where a test waits until it is not."""


class Parked(logging.Handler):
    """Hears of tasks that wait and are nobody's any more."""

    def __init__(self) -> None:
        super().__init__()
        self._heard: set[str] = set()
        self._changed = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Note what a run says when it lets go of a task."""
        if record.getMessage() == "task waits":
            self._heard.add(record.__dict__["task_id"])
            self._changed.set()

    async def of(self, task_id: str) -> None:
        """Wait for this one."""
        async with asyncio.timeout(10):
            while task_id not in self._heard:
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def parked() -> AsyncIterator[Parked]:
    """Listen for tasks that are let go of."""
    heard, level = Parked(), RUNS.level
    RUNS.setLevel(logging.INFO)
    RUNS.addHandler(heard)
    try:
        yield heard
    finally:
        RUNS.removeHandler(heard)
        RUNS.setLevel(level)


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
