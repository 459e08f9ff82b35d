"""`subscriptions/listen`: tells clients what has changed, for as long as they listen."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Final

from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import (
    SUBSCRIPTION_ID_META_KEY,
    PromptsListChanged,
    ResourcesListChanged,
    ToolsListChanged,
)
from mcp_types import (
    INTERNAL_ERROR,
    SubscriptionFilter,
    SubscriptionsAcknowledgedNotification,
    SubscriptionsAcknowledgedNotificationParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
)

from gateway.mcp import asking
from gateway.mcp.asking import Context
from gateway.mcp.catalog import Catalog
from gateway.mcp.looks import EVERY, Digests, Listed, Logged, Look, Status
from gateway.mcp.refusals import Refused
from gateway.mcp.rpc import Caller, Services
from gateway.mcp.tasks import Tasks
from gateway.traffic import Traffic

log = logging.getLogger(__name__)

MAX_LISTENERS: Final = 256
MAX_NAMED: Final = 32
"""Tasks, and resources, that one listener may name."""
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

    def __init__(
        self, services: Services, catalog: Catalog, tasks: Tasks, traffic: Traffic
    ) -> None:
        self._digests = Digests(services, catalog)
        self._task = services["OrchestratorService/GetTask"]
        self._tasks = tasks
        self._traffic = traffic
        self._listeners = 0

    async def listen(
        self, ctx: Context, params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        """Tell of changes until the client goes away, or the edge stops."""
        honored = _honored(ctx, params.notifications)
        if self._listeners >= MAX_LISTENERS:
            raise MCPError(INTERNAL_ERROR, f"there are {MAX_LISTENERS} listeners already")
        meta: dict[str, Any] = {SUBSCRIPTION_ID_META_KEY: ctx.request_id}
        self._listeners += 1
        try:
            await self._follow(ctx, honored, meta)
        finally:
            self._listeners -= 1
        return SubscriptionsListenResult(_meta=meta)

    async def _follow(
        self, ctx: Context, honored: SubscriptionFilter, meta: dict[str, Any]
    ) -> None:
        caller = asking.caller_of(ctx)
        looks = list(self._looks(honored))
        states = [await _state(look, caller) for look in looks]
        params = SubscriptionsAcknowledgedNotificationParams(notifications=honored, _meta=meta)
        await _send(ctx, SubscriptionsAcknowledgedNotification(params=params))
        stop = Stop()
        with self._traffic.watch(stop, None) as watch:
            watch.is_resumable = True  # By listening again, elsewhere.
            while not await stop.within(EVERY):
                for number, look in enumerate(looks):
                    state = await _state(look, caller)
                    if state is not None and state != states[number]:
                        states[number] = state
                        await _send(ctx, await look.told(caller, meta))

    def _looks(self, honored: SubscriptionFilter) -> Iterable[Look]:
        if honored.tools_list_changed:
            yield Listed(self._digests, ToolsListChanged())
        if honored.prompts_list_changed:
            yield Listed(self._digests, PromptsListChanged())
        if honored.resources_list_changed:
            yield Listed(self._digests, ResourcesListChanged())
        for uri in honored.resource_subscriptions or ():
            yield Logged(self._task, uri, uri.removeprefix(_TASK_URI).removesuffix("/events"))
        for task_id in (honored.model_extra or {}).get(_TASK_IDS, ()):
            yield Status(self._tasks, task_id)


def _honored(ctx: Context, wanted: SubscriptionFilter) -> SubscriptionFilter:
    """What of it this edge tells: all lists, and of single things only tasks.

    Raises:
        MCPError: the client wants to hear of tasks and has not said that it knows them.
    """
    task_ids = (wanted.model_extra or {}).get(_TASK_IDS)
    if task_ids:
        asking.require_tasks(ctx)
    uris = [uri for uri in wanted.resource_subscriptions or () if uri.startswith(_TASK_URI)]
    named = [each for each in task_ids or () if isinstance(each, str)] if task_ids else []
    return SubscriptionFilter(
        tools_list_changed=wanted.tools_list_changed or None,
        prompts_list_changed=wanted.prompts_list_changed or None,
        resources_list_changed=wanted.resources_list_changed or None,
        resource_subscriptions=uris[:MAX_NAMED] or None,
        **({_TASK_IDS: named[:MAX_NAMED]} if named else {}),
    )


async def _state(look: Look, caller: Caller) -> object:
    """What something is like; None when nobody can say just now."""
    try:
        return await look.state(caller)
    except Refused as refused:
        log.debug("a listener cannot look", extra={"reason": refused.reason})
        return None


async def _send(ctx: Context, notification: Any) -> None:
    await ctx.session.send_notification(notification, related_request_id=ctx.request_id)
