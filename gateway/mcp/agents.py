"""Agents as tools: a call is a task, and its client hears how it goes on."""

from collections.abc import Mapping
from contextlib import aclosing, suppress
from typing import Any, Final

from gateway.mcp import client, refusals, results
from gateway.mcp.asker import Askers, Unaskable
from gateway.mcp.client import Context
from gateway.mcp.refusals import Refused
from gateway.mcp.rpc import Caller, Reply, Services
from services.chassis.errors import Violation, invalid

Wire = dict[str, Any]

SECONDS: Final = 300.0
_TAKEN: Final = frozenset({"query", "session_id"})
_SHOWN: Final = 200
# What a client hears of a task, by the event's type; the others are its answer, piece by piece.
_TOLD: Final = {
    "task_start": "accepted as {task_id}",
    "status_changed": "{status}",
    "agent_thought": "{step_id}: {reasoning}",
    "tool_call": "{step_id}: calls {tool_name}",
    "child_task": "{step_id}: {tool_name} is {child_task_id}",
    "child_status_changed": "{tool_name}: {child_task_id} is {status}",
    "tool_progress": "{tool_name}: {message}",
    "tool_result": "{step_id}: {tool_name} answered {status}",
    "approval_required": "{tool_name} waits for an approval of {tool_call_id}",
    "input_required": "{tool_name} waits for an answer to {tool_call_id}",
    "step_abandoned": "{step_id}: tried again",
    "warning": "{warning}",
}


class Agents:
    """Agents, by the id that follows `agent__`."""

    def __init__(self, services: Services, askers: Askers) -> None:
        self._invoke = services["OrchestratorService/StreamInvoke"]
        self._askers = askers

    async def ask(
        self, ctx: Context, caller: Caller, agent_id: str, arguments: Mapping[str, Any]
    ) -> Wire:
        """Run a query to its end. Going away cancels the task. What it asks for, its client is
        asked as far as it can be; others of the tenant may answer as well.

        Raises:
            Refused: there is no task.
        """
        ended, asker = Ended(), self._askers.of(ctx, caller)
        request = {**request_of(caller, agent_id, arguments), "on_disconnect": "cancel"}
        events = self._invoke.stream(caller, request, seconds=SECONDS)
        async with aclosing(events):
            async for event in events:
                ended.add(event)
                if (said := _TOLD.get(event.get("type", ""))) is not None:
                    message = said.format_map(_Fields(event))[:_SHOWN]
                    await client.tell_progress(ctx, event.get("sequence", 0), None, message)
                with suppress(Unaskable, Refused):  # Somebody else may be asked.
                    await asker.hear(event)
        return ended.result(is_modern=client.is_modern(ctx))


class Ended:
    """What a task's events add up to, for whoever called the agent as a tool."""

    def __init__(self) -> None:
        self._start: Reply = {}
        self._answer: Reply = {}
        self._end: Reply = {}

    def add(self, event: Reply) -> None:
        """Take note of an event."""
        match event.get("type"):
            case "task_start":
                self._start = event
            case "final_answer":
                self._answer = event
            case "task_complete":
                self._end = event

    def result(self, *, is_modern: bool) -> Wire:
        """As a tool's result."""
        status = self._end.get("status", "")
        if status != "completed":
            return results.failure(_error(status, self._end))
        return answered(
            self._end.get("task_id", ""),
            self._start.get("session_id", ""),
            self._answer.get("answer", ""),
            self._answer.get("output"),
            is_modern=is_modern,
        )


def request_of(caller: Caller, agent_id: str, arguments: Mapping[str, Any]) -> Wire:
    """The request that a call of an agent is. Raises `Refused`: it says what cannot be said so."""
    if unknown := sorted(set(arguments) - _TAKEN):
        fix = f"send {' and '.join(sorted(_TAKEN))}"
        fault = Violation(unknown[0][:200], "is nothing that an agent takes", fix)
        raise refusals.from_error(invalid(fault), caller.context)
    return {**arguments, "agent_id": agent_id}


def answered(task_id: str, session_id: str, answer: str, output: Any, *, is_modern: bool) -> Wire:
    """An answer as a tool's result."""
    value = {"task_id": task_id, "session_id": session_id, "answer": answer}
    if output is not None:
        value["output"] = output
    content = results.text(answer)
    return results.success(value, content, {}, is_modern=is_modern, has_schema=True)


def _error(status: str, end: Reply) -> Wire:
    error = end.get("error") or {}
    if status == "canceled":
        error = {"error_code": "TASK_CANCELED", "message": end.get("comment", "it was canceled")}
    return {**error, "reason": error.get("error_code", "TASK_FAILED")}


class _Fields(dict[str, Any]):
    """An event's fields, empty where it has none."""

    def __missing__(self, key: str) -> str:
        return ""
