"""Calls of clients before 2026-07-28 whose tool asks for something.

Such a call goes on as a task, which waits for the answers: they come in requests of their own, at
any replica (`answers`), and the replica with the stream hears of them by the task.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, Final

from mcp.shared.exceptions import MCPError

from gateway.mcp import client, results
from gateway.mcp.asker import Askers, Unaskable
from gateway.mcp.client import Context
from gateway.mcp.details import Details
from gateway.mcp.offers import Offer
from gateway.mcp.patience import AWAY, patiently
from gateway.mcp.refusals import Refused
from gateway.mcp.rpc import Caller, Reply, Services
from gateway.mcp.tasks import LABEL, Tasks
from gateway.traffic import Traffic

Wire = dict[str, Any]

SECONDS: Final = 300.0
"""How long a client has to answer all that a call asks."""
_MARGIN: Final = 1.0
_PAUSE: Final = 0.25
_GATEWAY_TIMEOUT: Final = 504
_END: Final = "task_complete"


class Asking:
    """Goes on with such calls."""

    def __init__(self, services: Services, tasks: Tasks, askers: Askers, traffic: Traffic) -> None:
        self._invoke = services["OrchestratorService/StreamInvoke"]
        self._watch = services["OrchestratorService/WatchTask"]
        self._details = Details(services)
        self._tasks = tasks
        self._askers = askers
        self._traffic = traffic

    async def go_on(
        self, ctx: Context, caller: Caller, offer: Offer, request: Wire, response: Reply
    ) -> Wire:
        """Go on with a call in which its tool asks, to its end. Going away cancels it.

        Raises:
            Refused: there is no task, or it cannot be followed; it is cancelled then.
            MCPError: the call failed as servers say by an error.
        """
        task = _task_of(request, response)
        try:
            async with asyncio.timeout(self._invoke.longest(caller, SECONDS) + _MARGIN):
                ended = await self._followed(ctx, caller, task)
        except Unaskable as why:
            return results.failure({"reason": "TOOL_INPUT_REFUSED", "message": str(why)})
        except TimeoutError:
            return _late(request["name"])
        except Refused as refused:
            if refused.failure.http != _GATEWAY_TIMEOUT:
                raise
            return _late(request["name"])
        return await self._outcome(caller, offer, ended)

    async def _followed(self, ctx: Context, caller: Caller, task: Wire) -> Reply:
        """The last event of a task that begins with this; on the way there its client is asked. A
        task that is not followed to its end is cancelled."""
        asker, last, why = self._askers.of(ctx, caller), Reply(), "its MCP client waits no more"
        try:
            async with aclosing(self._events(caller, task)) as events:
                async for event in events:
                    last = event
                    await asker.hear(event)
                    await _tell(ctx, event)
        except Unaskable as fault:
            why = str(fault)
            raise
        finally:
            if last and last["type"] != _END:
                self._traffic.tasks.create_task(self._cancel(caller, last["task_id"], why))
        return last

    async def _events(self, caller: Caller, task: Wire) -> AsyncGenerator[Reply, None]:
        """The task's events. Where its orchestrator is lost another one goes on with it."""
        last = Reply()
        stream = self._invoke.stream(caller, task, seconds=SECONDS)
        while last.get("type") != _END:
            try:
                async with aclosing(stream) as events:
                    async for event in events:
                        last = event
                        yield event
            except Refused as refused:
                if not last or refused.reason != AWAY:
                    raise
                await asyncio.sleep(_PAUSE)
            request = {"task_id": last.get("task_id"), "after_sequence": last.get("sequence")}
            stream = self._watch.stream(caller, request, seconds=SECONDS)

    async def _cancel(self, caller: Caller, task_id: str, why: str) -> None:
        """Cancel a task, for nobody who could be told that it failed."""
        with suppress(Refused):
            await patiently(lambda: self._tasks.end(caller, task_id, why))

    async def _outcome(self, caller: Caller, offer: Offer, ended: Reply) -> Wire:
        """What the call came to, as it would have without a task."""
        task = await self._tasks.found(caller, ended.get("task_id", ""))
        shown = await self._details.of(caller, task, is_modern=False, has_schema=offer.has_schema)
        if result := shown.get("result"):
            return dict(result)
        if error := shown.get("error"):
            raise MCPError(error["code"], error["message"], error["data"])
        why = ended.get("comment", "it was canceled")
        return results.failure({"reason": "TASK_CANCELED", "message": why})


def _late(name: str) -> Wire:
    message = f"{name} asked for something, and was not done in time"
    return results.failure({"reason": "TOOL_TIMEOUT", "message": message})


def _task_of(request: Wire, response: Reply) -> Wire:
    """The call as a task that begins with what the tool asks for."""
    call = {
        "tool": request["name"],
        "version": response.get("tool_version", ""),
        "input": request["input"],
        "capabilities": request["capabilities"],
        "input_requests": response.get("input_requests", {}),
        "request_state": response.get("request_state", ""),
    }
    return {"call": call, "labels": {LABEL: request["name"]}, "on_disconnect": "cancel"}


async def _tell(ctx: Context, event: Reply) -> None:
    """Pass on what the tool says, as in a call without a task."""
    said = event.get("message", "")
    match event.get("type"):
        case "tool_progress":
            await client.tell_progress(ctx, event.get("progress", 0.0), event.get("total"), said)
        case "tool_log":
            await client.tell_log(ctx, event.get("level"), said, event.get("tool_name", ""))
