"""What listeners watch: lists of tools, prompts and resources, and single tasks.

Services do not tell the edge of changes, so whoever listens looks again and again. Lists are asked
for once for all who look at them at the same time.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from mcp.shared.subscriptions import (
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
    event_to_notification,
)
from mcp_types import Notification, NotificationParams
from pydantic import ConfigDict

from gateway.mcp.catalog import Catalog, digest
from gateway.mcp.pages import Page, items, listed
from gateway.mcp.questions import outstanding
from gateway.mcp.rpc import Caller, Rpc, Services
from gateway.mcp.tasks import Tasks
from services.chassis.lately import Lately

Meta = dict[str, Any]

EVERY: Final = 0.5
_SECONDS: Final = 10.0
_MAX_KNOWN: Final = 256


class TaskNotificationParams(NotificationParams):
    """A task as `tasks/get` would show it."""

    model_config = ConfigDict(extra="allow")


class TaskNotification(
    Notification[TaskNotificationParams, Literal["notifications/tasks"]]  # Of the extension.
):
    """A task's status is another one."""

    method: Literal["notifications/tasks"] = "notifications/tasks"


class Watched(ABC):
    """One of them, as listeners see it."""

    @abstractmethod
    async def state(self, caller: Caller) -> object:
        """What it is like at the moment; equal to the last one while nothing happens."""

    @abstractmethod
    async def told(self, caller: Caller, meta: Meta) -> Any:
        """The notification that it is not like before."""


@dataclass(frozen=True, slots=True)
class WatchedList(Watched):
    """A list."""

    digests: "Digests"
    event: ServerEvent

    async def state(self, caller: Caller) -> object:
        """A digest of it."""
        return await self.digests.of(caller, type(self.event))

    async def told(self, caller: Caller, meta: Meta) -> Any:
        """That it has changed."""
        return event_to_notification(self.event, meta)


@dataclass(frozen=True, slots=True)
class WatchedLog(Watched):
    """A task's log, as a resource."""

    rpc: Rpc
    uri: str
    task_id: str

    async def state(self, caller: Caller) -> object:
        """How long it is."""
        task = await self.rpc(caller, {"task_id": self.task_id}, seconds=_SECONDS)
        return task["last_sequence"]

    async def told(self, caller: Caller, meta: Meta) -> Any:
        """That the resource can be read again."""
        return event_to_notification(ResourceUpdated(self.uri), meta)


@dataclass(frozen=True, slots=True)
class WatchedTask(Watched):
    """A task of a client that waits for it."""

    tasks: Tasks
    task_id: str

    async def state(self, caller: Caller) -> object:
        """Its status, and what it asks for."""
        task = await self.tasks.found(caller, self.task_id)
        return task["status"], [each.wire.keys() for each in outstanding(task)]

    async def told(self, caller: Caller, meta: Meta) -> Any:
        """The task as it stands."""
        shown = await self.tasks.shown(caller, self.task_id)
        return TaskNotification(
            params=TaskNotificationParams.model_validate({**shown, "_meta": meta})
        )


@dataclass(slots=True)
class _Known:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    time: float = float("-inf")
    pages: Sequence[Page] = ()
    digest: str = ""


class Digests:
    """What lists are like, by tenant and kind."""

    def __init__(self, services: Services, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lists: Mapping[type[object], tuple[Rpc, str]] = {
            PromptsListChanged: (services["ResourceService/ListPrompts"], "prompts"),
            ResourcesListChanged: (services["ResourceService/ListResources"], "resources"),
        }
        self._known: Lately[tuple[str, type[object]], _Known] = Lately(_MAX_KNOWN)

    async def of(self, caller: Caller, kind: type[object]) -> str:
        """The same for the same list."""
        if kind is ToolsListChanged:
            return await (await self._catalog.fresh(caller, EVERY / 2)).digest()
        key = caller.tenant, kind
        known = self._known.get(key) or self._known.put(key, _Known())
        async with known.lock:
            if (now := asyncio.get_running_loop().time()) - known.time > EVERY / 2:
                rpc, name = self._lists[kind]
                pages = await listed(rpc, name, caller, known.pages)
                if pages != known.pages:
                    found = items(rpc, pages, name)
                    known.digest = await asyncio.to_thread(digest, found)
                    known.pages = pages
                known.time = now
            return known.digest
