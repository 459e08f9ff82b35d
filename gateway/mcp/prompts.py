"""Prompts that MCP servers brought, and what may be filled in."""

from typing import Any, Final

from mcp_types import (
    CompleteRequestParams,
    GetPromptRequestParams,
    PaginatedRequestParams,
    PromptReference,
)

from gateway.mcp import client, results
from gateway.mcp.client import Context
from gateway.mcp.resources import EVENTS, TASK, cursor_of, going_on, page
from gateway.mcp.rpc import Caller, Services

Wire = dict[str, Any]

MAX_VALUES: Final = 100
_SECONDS: Final = 10.0
_GET_SECONDS: Final = 60.0


class Prompts:
    """Prompts, by name."""

    def __init__(self, services: Services) -> None:
        self._list = services["ResourceService/ListPrompts"]
        self._get = services["ResourceService/GetPrompt"]
        self._complete = services["ResourceService/Complete"]
        self._tasks = services["OrchestratorService/ListTasks"]

    async def list(self, ctx: Context, params: PaginatedRequestParams | None) -> Wire:
        """A page of prompts."""
        found = await page(self._list, client.caller_of(ctx), cursor_of(params))
        return results.complete(prompts=found.get("prompts", []), **going_on(found))

    async def get(self, ctx: Context, params: GetPromptRequestParams) -> Wire:
        """A prompt, filled in; or what its server asks for first."""
        request = {
            "name": params.name,
            "arguments": dict(params.arguments or {}),
            **client.answers_of(ctx),
        }
        found = await self._get(client.caller_of(ctx), request, seconds=_GET_SECONDS)
        if found.get("input_requests") or found.get("request_state"):
            return results.asked(found)
        return results.complete(description=found["description"], messages=found["messages"])

    async def complete(self, ctx: Context, params: CompleteRequestParams) -> Wire:
        """Values for an argument of a prompt, or a variable of a template."""
        caller = client.caller_of(ctx)
        argument = params.argument
        request: dict[str, Any] = {"argument": argument.name, "value": argument.value}
        if isinstance(params.ref, PromptReference):
            request["prompt"] = params.ref.name
        elif params.ref.uri in {TASK, EVENTS}:
            found = await self._of_tasks(caller, argument.name, argument.value)
            return results.complete(completion=found)
        else:
            request["uri_template"] = params.ref.uri
        if params.context is not None and params.context.arguments:
            request["context"] = dict(params.context.arguments)
        found = await self._complete(caller, request, seconds=_SECONDS)
        completion = {"values": found["values"][:MAX_VALUES], "hasMore": found["has_more"]}
        if "total" in found:
            completion["total"] = found["total"]
        return results.complete(completion=completion)

    async def _of_tasks(self, caller: Caller, name: str, typed: str) -> Wire:
        """Ids of the latest tasks that begin with what was typed."""
        if name != "task_id":
            return {"values": []}
        found = await page(self._tasks, caller, "")
        ids = [each["task_id"] for each in found["tasks"]]
        return {"values": [each for each in ids if each.startswith(typed)][:MAX_VALUES]}
