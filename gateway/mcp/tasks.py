"""The tasks extension (SEP-2663) over our tasks: a call that lasts becomes one, and is asked after.

`io.modelcontextprotocol/tasks`; no replica keeps anything of it.
"""

from collections.abc import Mapping
from typing import Any, Final

from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import decode_header_value
from mcp_types import HEADER_MISMATCH, METHOD_NOT_FOUND, RequestParams

from gateway.mcp import client, results
from gateway.mcp.agents import request_of
from gateway.mcp.client import Context
from gateway.mcp.details import Details, status_of
from gateway.mcp.offers import agent_of
from gateway.mcp.questions import Question, outstanding
from gateway.mcp.refusals import Refused
from gateway.mcp.rpc import Caller, Reply, Services

Wire = dict[str, Any]

GET: Final = "tasks/get"
UPDATE: Final = "tasks/update"
CANCEL: Final = "tasks/cancel"
LABEL: Final = "mcp_tool"
"""Where a task says which tool's call it is."""
POLL_MS: Final = 500
_SECONDS: Final = 10.0
_MOST_REASON: Final = 256
_ACK: Final[Wire] = {"resultType": results.COMPLETE}


class TaskParams(RequestParams):
    """Names a task."""

    task_id: str


class UpdateParams(TaskParams):
    """Answers what a task asks for."""

    input_responses: dict[str, dict[str, Any]]


class Tasks:
    """Tasks of those who can wait for one."""

    def __init__(self, services: Services) -> None:
        self._create = services["OrchestratorService/CreateTask"]
        self._get = services["OrchestratorService/GetTask"]
        self._cancel = services["OrchestratorService/CancelTask"]
        self._submit = services["OrchestratorService/SubmitToolResult"]
        self._approve = services["OrchestratorService/ApproveToolCall"]
        self._deny = services["OrchestratorService/DenyToolCall"]
        self._details = Details(services)

    async def begin(
        self, ctx: Context, caller: Caller, name: str, arguments: Mapping[str, Any]
    ) -> Wire:
        """Begin a task in place of a call. Returns when it is stored."""
        if agent_id := agent_of(name):
            request = request_of(caller, agent_id, arguments)
        else:
            can = client.askable(ctx)
            request = {"call": {"tool": name, "input": arguments, "capabilities": can}}
        request["labels"] = {LABEL: name}
        task = await self._create(caller, request, seconds=_SECONDS)
        return {**_envelope(task), "resultType": "task"}

    async def get(self, ctx: Context, params: TaskParams) -> Wire:
        """A task as it stands, with its result or with what it asks for."""
        caller = _admitted(ctx, params)
        return {**await self.shown(caller, params.task_id), "resultType": results.COMPLETE}

    async def shown(self, caller: Caller, task_id: str) -> Wire:
        """The same, for whoever asks."""
        task = await self.found(caller, task_id)
        return {**_envelope(task), **await self._details.of(caller, task)}

    async def found(self, caller: Caller, task_id: str) -> Reply:
        """The task itself."""
        return await self._get(caller, {"task_id": task_id}, seconds=_SECONDS)

    async def update(self, ctx: Context, params: UpdateParams) -> Wire:
        """Answer what a task asks for. What it does not ask for (any more) is passed over."""
        caller = _admitted(ctx, params)
        task = await self.found(caller, params.task_id)
        for question in outstanding(task):
            if given := question.answered(params.input_responses):
                await self.answer(caller, question, given)
        return dict(_ACK)

    async def cancel(self, ctx: Context, params: TaskParams) -> Wire:
        """Cancel a task; one that is over stays what it is."""
        caller = _admitted(ctx, params)
        await self.end(caller, params.task_id, "its MCP client wants it no more")
        return dict(_ACK)

    async def end(self, caller: Caller, task_id: str, why: str) -> None:
        """The same, for whoever asks."""
        request = {"task_id": task_id, "reason": why[:_MOST_REASON]}
        try:
            await self._cancel(caller, request, seconds=_SECONDS)
        except Refused as refused:
            if refused.reason != "TASK_ALREADY_ENDED":
                raise

    async def answer(self, caller: Caller, question: Question, given: Mapping[str, Wire]) -> None:
        """Give a task answers to a question of its own, by the tool's names."""
        call = {"task_id": question.task_id, "tool_call_id": question.tool_call_id}
        if not question.is_approval:
            await self._submit(caller, {**call, "input_responses": dict(given)}, seconds=_SECONDS)
            return
        is_allowed, comment = question.decision(given)
        decide = self._approve if is_allowed else self._deny
        await decide(caller, {**call, "comment": comment}, seconds=_SECONDS)


def _admitted(ctx: Context, params: TaskParams) -> Caller:
    """Refuse whoever does not know tasks, or names two in one request. Raises `MCPError`."""
    if not client.is_modern(ctx):
        raise MCPError(METHOD_NOT_FOUND, "Method not found", ctx.method)
    client.require_tasks(ctx)
    if decode_header_value(ctx.request.headers.get("mcp-name")) != params.task_id:
        raise MCPError(
            HEADER_MISMATCH, "mcp-name header does not match the request body's 'taskId' parameter"
        )
    return client.caller_of(ctx)


def _envelope(task: Reply) -> Wire:
    return {
        "taskId": task["task_id"],
        "status": status_of(task),
        "createdAt": task["create_time"],
        "lastUpdatedAt": task["update_time"],
        "ttlMs": None,  # Nobody throws tasks away.
        "pollIntervalMs": POLL_MS,
    }
