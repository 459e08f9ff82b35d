"""Calls of clients before 2026-07-28 whose tool asks for something.

Such a call goes on as a task, which waits for the answers: they come in requests of their own, at
any replica (`answers`), and the replica with the stream hears of them by the task.
"""

from contextlib import aclosing, suppress
from typing import Any, Final

from mcp.shared.exceptions import MCPError

from gateway.mcp import client, results
from gateway.mcp.asker import Askers, Unaskable
from gateway.mcp.client import Context
from gateway.mcp.details import Details
from gateway.mcp.offers import Offer
from gateway.mcp.refusals import Refused
from gateway.mcp.rpc import Caller, Reply, Services
from gateway.mcp.tasks import LABEL, Tasks

Wire = dict[str, Any]

SECONDS: Final = 300.0
"""How long a client has to answer all that a call asks."""
_GATEWAY_TIMEOUT: Final = 504


class Asking:
    """Goes on with such calls."""

    def __init__(self, services: Services, tasks: Tasks, askers: Askers) -> None:
        self._invoke = services["OrchestratorService/StreamInvoke"]
        self._details = Details(services)
        self._tasks = tasks
        self._askers = askers

    async def go_on(
        self, ctx: Context, caller: Caller, offer: Offer, request: Wire, response: Reply
    ) -> Wire:
        """Go on with a call in which its tool asks, to its end. Going away cancels it.

        Raises:
            Refused: there is no task, or it cannot be followed; it is cancelled then.
            MCPError: the call failed as servers say by an error.
        """
        ended: Reply = {}
        events = self._invoke.stream(caller, _task_of(request, response), seconds=SECONDS)
        task_id, asker = "", self._askers.of(ctx, caller)
        try:
            async with aclosing(events):
                async for event in events:
                    task_id, ended = event["task_id"], event
                    await asker.hear(event)
                    await _tell(ctx, event)
        except Unaskable as why:
            await self._give_up(caller, task_id, str(why))
            return results.failure({"reason": "TOOL_INPUT_REFUSED", "message": str(why)})
        except Refused as refused:
            await self._give_up(caller, task_id, "its MCP client waits no more")
            if refused.failure.http != _GATEWAY_TIMEOUT:
                raise
            message = f"{request['name']} asked for something, and was not done in time"
            return results.failure({"reason": "TOOL_TIMEOUT", "message": message})
        return await self._outcome(caller, offer, ended)

    async def _give_up(self, caller: Caller, task_id: str, why: str) -> None:
        with suppress(Refused):  # There is nobody to tell.
            if task_id:
                await self._tasks.end(caller, task_id, why)

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


def _task_of(request: Wire, response: Reply) -> Wire:
    """The call as a task that begins with what the tool asks for."""
    call = {
        "tool": request["name"],
        "version": response["tool_version"],
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
