"""`subscriptions/listen`: tells clients what has changed, for as long as they listen."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import (
    SUBSCRIPTION_ID_META_KEY,
    PromptsListChanged,
    ResourcesListChanged,
    ToolsListChanged,
)
from mcp_types import (
    SubscriptionFilter,
    SubscriptionsAcknowledgedNotification,
    SubscriptionsAcknowledgedNotificationParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
)

from gateway.endpoints import Edge
from gateway.mcp import client
from gateway.mcp.catalog import Catalog
from gateway.mcp.client import Context
from gateway.mcp.refusals import Refused
from gateway.mcp.rpc import Services
from gateway.mcp.tasks import Tasks
from gateway.mcp.watched import EVERY, Digests, Watched, WatchedList, WatchedLog, WatchedTask

log = logging.getLogger(__name__)

T = TypeVar("T")

TOO_MANY: Final = -32010
"""Of those JSON-RPC leaves to servers, outside of what MCP took for itself."""
MAX_NAMED: Final = 32
"""Tasks, and resources, that one listener may name."""
_SHARE: Final = 4
"""Of all listeners a tenant may have this part."""
_TASK_URI: Final = "runplane://tasks/"
_TASK_IDS: Final = "taskIds"


class Stop:
    """What the edge cancels when it stops: listeners are told then that this was the last word."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def cancel(self) -> bool:
        """Stop."""
        self._event.set()
        return True

    async def within(self, seconds: float) -> bool:
        """Wait for it so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        return True


class Listeners:
    """All who listen at this edge."""

    def __init__(self, services: Services, catalog: Catalog, tasks: Tasks, edge: Edge) -> None:
        self._digests = Digests(services, catalog)
        self._task = services["OrchestratorService/GetTask"]
        self._tasks = tasks
        self._traffic = edge.traffic
        self._most = edge.settings.mcp.max_listeners
        self._listeners: Counter[str] = Counter()

    async def listen(
        self, ctx: Context, params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        """Tell of changes until the client goes away, or the edge stops."""
        honored = _honored(ctx, params.notifications)
        meta: dict[str, Any] = {SUBSCRIPTION_ID_META_KEY: ctx.request_id}
        with self._counted(client.caller_of(ctx).tenant):
            await self._follow(ctx, honored, meta)
        return SubscriptionsListenResult(_meta=meta)

    @contextmanager
    def _counted(self, tenant: str) -> Iterator[None]:
        """Count a listener. Raises `MCPError`: there are too many already."""
        _check(self._listeners[tenant], self._most // _SHARE, "a tenant has")
        _check(self._listeners.total(), self._most, "there are")
        self._listeners[tenant] += 1
        try:
            yield
        finally:
            self._listeners[tenant] -= 1
            self._listeners += Counter()  # Drops those who have none.

    async def _follow(
        self, ctx: Context, honored: SubscriptionFilter, meta: dict[str, Any]
    ) -> None:
        caller = client.caller_of(ctx)
        watched = list(self._watched(honored))
        states = [await _if_known(each.state(caller)) for each in watched]
        params = SubscriptionsAcknowledgedNotificationParams(notifications=honored, _meta=meta)
        await _send(ctx, SubscriptionsAcknowledgedNotification(params=params))
        stop = Stop()
        with self._traffic.watch(stop, None) as watch:
            watch.is_resumable = True  # By listening again, elsewhere.
            while not await stop.within(EVERY):
                for number, each in enumerate(watched):
                    state = await _if_known(each.state(caller))
                    if state is None or state == states[number]:
                        continue
                    if (told := await _if_known(each.told(caller, meta))) is not None:
                        states[number] = state
                        await _send(ctx, told)

    def _watched(self, honored: SubscriptionFilter) -> Iterable[Watched]:
        if honored.tools_list_changed:
            yield WatchedList(self._digests, ToolsListChanged())
        if honored.prompts_list_changed:
            yield WatchedList(self._digests, PromptsListChanged())
        if honored.resources_list_changed:
            yield WatchedList(self._digests, ResourcesListChanged())
        for uri in honored.resource_subscriptions or ():
            yield WatchedLog(self._task, uri, uri.removeprefix(_TASK_URI).removesuffix("/events"))
        for task_id in (honored.model_extra or {}).get(_TASK_IDS, ()):
            yield WatchedTask(self._tasks, task_id)


def _check(count: int, most: int, whose: str) -> None:
    if count >= most:
        message = f"{whose} {most} listeners at this edge, and may have no more"
        data = {"error_code": "LISTENERS_TOO_MANY", "limit": most}
        raise MCPError(TOO_MANY, message, data)


def _honored(ctx: Context, wanted: SubscriptionFilter) -> SubscriptionFilter:
    """What of it this edge tells: all lists, and of single things only tasks.

    Raises:
        MCPError: the client wants to hear of tasks and has not said that it knows them.
    """
    task_ids = (wanted.model_extra or {}).get(_TASK_IDS)
    if task_ids:
        client.require_tasks(ctx)
    uris = [uri for uri in wanted.resource_subscriptions or () if uri.startswith(_TASK_URI)]
    named = [each for each in task_ids or () if isinstance(each, str)] if task_ids else []
    return SubscriptionFilter(
        tools_list_changed=wanted.tools_list_changed or None,
        prompts_list_changed=wanted.prompts_list_changed or None,
        resources_list_changed=wanted.resources_list_changed or None,
        resource_subscriptions=uris[:MAX_NAMED] or None,
        **({_TASK_IDS: named[:MAX_NAMED]} if named else {}),
    )


async def _if_known(asked: Awaitable[T]) -> T | None:
    """What is asked; None when nobody can say just now, as when a service starts anew."""
    try:
        return await asked
    except Refused as refused:
        log.debug("a listener hears nothing", extra={"reason": refused.reason})
        return None


async def _send(ctx: Context, notification: Any) -> None:
    await ctx.session.send_notification(notification, related_request_id=ctx.request_id)
