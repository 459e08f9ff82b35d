"""Resources: those that MCP servers brought, and our tasks with their logs."""

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, PaginatedRequestParams, ReadResourceRequestParams

from gateway.mcp import client, results
from gateway.mcp.client import Context
from gateway.mcp.cursors import Cursors
from gateway.mcp.logs import Logs
from gateway.mcp.refusals import Refused
from gateway.mcp.rpc import Caller, Reply, Rpc, Services

Wire = dict[str, Any]

TASK: Final = "runplane://tasks/{task_id}"
EVENTS: Final = "runplane://tasks/{task_id}/events{?after_sequence}"
PAGE: Final = 50
MAX_EVENTS: Final = 1_000
MAX_BYTES: Final = 1024 * 1024
SCHEME: Final = "runplane:"
_IMPORTED: Final = "imported"
_TASKS: Final = "tasks"
NOT_FOUND: Final = -32002
"""What versions before 2026-07-28 say of a resource that is not there."""
_SECONDS: Final = 10.0
_READ_SECONDS: Final = 60.0
_SHOWN: Final = 80
_JSON: Final = "application/json"
_LINES: Final = "application/x-ndjson"
_OURS: Final = re.compile(
    r"runplane://tasks/(?P<task_id>[A-Za-z0-9_-]{1,128})"
    r"(?P<events>/events(\?after_sequence=(?P<after>\d{1,9}))?)?"
)
_TEMPLATES: Final[list[Wire]] = [
    {
        "uriTemplate": TASK,
        "name": "task",
        "title": "A task",
        "description": "A task as it stands: status, answer, what it took.",
        "mimeType": _JSON,
    },
    {
        "uriTemplate": EVENTS,
        "name": "task-events",
        "title": "A task's log",
        "description": f"Its events, one JSON object a line, at most {MAX_EVENTS:,} and 1 MiB; "
        "`after_sequence` says after which to begin.",
        "mimeType": _LINES,
    },
]


class Resources:
    """What can be read, of both kinds."""

    def __init__(self, services: Services, cursors: Cursors) -> None:
        self._cursors = cursors
        self._list = services["ResourceService/ListResources"]
        self._templates = services["ResourceService/ListResourceTemplates"]
        self._read = services["ResourceService/ReadResource"]
        self._tasks = services["OrchestratorService/ListTasks"]
        self._task = services["OrchestratorService/GetTask"]
        self._logs = Logs(services)

    async def list(self, ctx: Context, params: PaginatedRequestParams | None) -> Wire:
        """A page: first what servers brought, by URI, then tasks, the newest first."""
        caller = client.caller_of(ctx)
        place = self._cursors.opened(params.cursor if params else None)
        kind, _, token = (place or _IMPORTED).partition(" ")
        shown: list[Wire] = []
        if kind == _IMPORTED:
            found = await page(self._list, caller, token)
            shown = found.get("resources", [])
            if token := found.get("next_page_token", ""):
                return self._page(shown, f"{_IMPORTED} {token}")
        found = await page(self._tasks, caller, token)
        shown.extend(each for task in found.get("tasks", []) for each in _of_task(task))
        token = found.get("next_page_token", "")
        return self._page(shown, f"{_TASKS} {token}" if token else "")

    def _page(self, shown: Sequence[Wire], place: str) -> Wire:
        more = {"nextCursor": self._cursors.sealed(place)} if place else {}
        return results.complete(resources=shown, **more)

    async def templates(self, ctx: Context, params: PaginatedRequestParams | None) -> Wire:
        """A page of templates: ours, then what servers brought."""
        token = cursor_of(params)
        found = await page(self._templates, client.caller_of(ctx), token)
        shown = [*(() if token else _TEMPLATES), *found.get("resource_templates", [])]
        return results.complete(resourceTemplates=shown, **going_on(found))

    async def read(self, ctx: Context, params: ReadResourceRequestParams) -> Wire:
        """A resource's contents; or what its server asks for first."""
        caller = client.caller_of(ctx)
        try:
            if params.uri.startswith(SCHEME):
                return results.complete(contents=[await self._ours(ctx, params.uri)])
            request: Wire = {"uri": params.uri, **client.answers_of(ctx)}
            found = await self._read(caller, request, seconds=_READ_SECONDS)
        except Refused as refused:
            if refused.said.get("grpc_status") != "NOT_FOUND":
                raise
            raise _missing(ctx, params.uri, refused.message) from None
        if found.get("input_requests") or found.get("request_state"):
            return results.asked(found)
        return results.complete(contents=found["contents"])

    async def _ours(self, ctx: Context, uri: str) -> Wire:
        if (named := _OURS.fullmatch(uri)) is None:
            raise _missing(ctx, uri, f"there is no such resource: {uri[:200]}")
        caller = client.caller_of(ctx)
        task = await self._task(caller, {"task_id": named["task_id"]}, seconds=_SECONDS)
        if not named["events"]:
            return {"uri": uri, "mimeType": _JSON, "text": _shown(task)}
        after = int(named["after"] or 0)
        events = await self._logs.events(caller, task, after=after, most=MAX_EVENTS)
        return {"uri": uri, "mimeType": _LINES, "text": _lines(events)}


def cursor_of(params: PaginatedRequestParams | None) -> str:
    """Of a list that one service has: its page token, which means nothing to anybody else."""
    return (params.cursor if params else None) or ""


def going_on(found: Reply) -> Wire:
    """The field that says where such a list goes on, if it does."""
    token = found.get("next_page_token", "")
    return {"nextCursor": token} if token else {}


async def page(rpc: Rpc, caller: Caller, token: str) -> Reply:
    """A page of a list; an empty one of a service that does not have such a list yet."""
    try:
        request = {"page_size": PAGE, "page_token": token}
        return await rpc(caller, request, seconds=_SECONDS)
    except Refused as refused:
        if refused.reason != "METHOD_NOT_IMPLEMENTED":
            raise
        return {}


def _missing(ctx: Context, uri: str, message: str) -> MCPError:
    code = INVALID_PARAMS if client.is_modern(ctx) else NOT_FOUND
    return MCPError(code, message, {"uri": uri})


def _of_task(task: Reply) -> list[Wire]:
    """A task as two resources: itself, and its log."""
    task_id = task["task_id"]
    uri = f"runplane://tasks/{task_id}"
    said = task["query"][:_SHOWN] or task_id
    return [
        {
            "uri": uri,
            "name": task_id,
            "title": said,
            "description": f"A task, {task['status']}",
            "mimeType": _JSON,
        },
        {
            "uri": f"{uri}/events",
            "name": f"{task_id}-events",
            "title": f"Log of: {said}",
            "mimeType": _LINES,
        },
    ]


def _shown(value: Reply) -> str:
    return json.dumps(value, ensure_ascii=False)


def _lines(events: list[Reply]) -> str:
    """Events, one a line, as many as there is room for."""
    lines: list[str] = []
    size = 0
    for event in events:
        line = _shown(event)
        size += len(line.encode()) + 1
        if size > MAX_BYTES and lines:
            break
        lines.append(line)
    return "".join(f"{line}\n" for line in lines)
