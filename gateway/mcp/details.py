"""What `tasks/get` shows of a task beside its status: a result, an error, or what it asks for."""

import json
from typing import Any, Final

from gateway.mcp import refusals, results
from gateway.mcp.agents import answered
from gateway.mcp.logs import Logs, too_large
from gateway.mcp.questions import outstanding
from gateway.mcp.rpc import Caller, Reply, Services

Wire = dict[str, Any]

_WORKING: Final = "working"
_INPUT_REQUIRED: Final = "input_required"
_STATUS: Final = {
    "pending": _WORKING,
    "running": _WORKING,
    "waiting": _WORKING,  # For somebody else than its client.
    "completed": "completed",
    "failed": "failed",
    "canceled": "cancelled",
}
# What went wrong around a tool, not in it: the call itself failed, as JSON-RPC understands it.
_AROUND: Final = frozenset({"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DATA_LOSS", "CANCELLED"})
_OURS: Final = frozenset({"TASK_TIMEOUT", "TASK_WAIT_EXPIRED"})
_ENDING: Final = 64


def status_of(task: Reply) -> str:
    """MCP's word for where a task stands."""
    return _INPUT_REQUIRED if outstanding(task) else _STATUS.get(task["status"], _WORKING)


class Details:
    """Reads what a task's log has and the task itself does not."""

    def __init__(self, services: Services) -> None:
        self._logs = Logs(services)

    async def of(
        self, caller: Caller, task: Reply, *, is_modern: bool = True, has_schema: bool = False
    ) -> Wire:
        """Fields for the task as it stands; of a tool's failure they say the status anew. Results
        are as a version has them, and as a tool says that they look like."""
        match task["status"]:
            case "completed" if "call" in task:
                value, content = await self._called(caller, task, has_schema=has_schema)
                result = results.success(
                    value, content, {}, is_modern=is_modern, has_schema=has_schema
                )
                return {"result": result}
            case "completed":
                return {"result": await self._answered(caller, task)}
            case "failed":
                return self._failure(task)
            case "canceled":
                return {}
        return _wanted(task)

    async def _answered(self, caller: Caller, task: Reply) -> Wire:
        """What the agent answered."""
        answer, task_id = task["result"], task["task_id"]
        if reference := task.get("result_reference"):
            whole = await self._logs.value(caller, task_id, reference)
            answer = f"{answer}… {too_large(task_id, reference)}" if whole is None else whole
        output = task.get("output")
        return answered(task_id, task["session_id"], answer, output, is_modern=True)

    async def _called(
        self, caller: Caller, task: Reply, *, has_schema: bool
    ) -> tuple[Any, list[Wire]]:
        """What the tool answered: of content blocks and large values the log knows."""
        value, task_id = task.get("output"), task["task_id"]
        event = await self._last(caller, task, "tool_result")
        if value is None and (reference := event.get("reference")):
            value = await self._json(caller, task_id, reference)
        content = event.get("content", [])
        if reference := event.get("content_reference"):
            found = await self._json(caller, task_id, reference)
            content = results.text(found) if isinstance(found, str) else found
        if not content and not has_schema and (blocks := results.blocks_of(value)):
            return None, blocks
        return value, content

    async def _json(self, caller: Caller, task_id: str, reference: Reply) -> Any:
        """A large value; or a text that says that it is too large."""
        whole = await self._logs.value(caller, task_id, reference)
        return too_large(task_id, reference) if whole is None else json.loads(whole)

    async def _last(self, caller: Caller, task: Reply, kind: str) -> Reply:
        """The last event of a type, of those that came last."""
        events = await self._logs.latest(caller, task, most=_ENDING)
        return next((each for each in reversed(events) if each.get("type") == kind), {})

    def _failure(self, task: Reply) -> Wire:
        """A tool that could not do it has ended well; what failed around it has not."""
        error = task.get("error") or {}
        told = {**error, "reason": error.get("error_code", "TASK_FAILED")}
        code = results.PROTOCOL_ERRORS.get(told["reason"])
        is_around = error.get("grpc_status") in _AROUND or told["reason"] in _OURS
        if "call" in task and code is None and not is_around:
            return {"status": "completed", "result": results.failure(told)}
        message = f"{told['reason']}: {error.get('message', '')}"
        shown = {"code": code or refusals.INTERNAL_ERROR, "message": message, "data": error}
        return {"statusMessage": message, "error": shown}


def _wanted(task: Reply) -> Wire:
    """What a task asks for, if it asks for anything."""
    wanted = {key: each for one in outstanding(task) for key, each in one.wire.items()}
    return {"inputRequests": wanted} if wanted else {}
