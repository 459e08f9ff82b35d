"""Tools, by the tool registry. Each call carries the principal that it is made for."""

from collections.abc import AsyncIterable, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Final

import grpc
from google.protobuf.struct_pb2 import Struct
from runplane.tool_registry.v1 import tool_registry_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as pb_grpc

from services.chassis import structs
from services.chassis.client import streaming, unary
from services.chassis.context import current
from services.chassis.errors import Internal
from services.chassis.telling import Logged, Progress, Report
from services.orchestrator.adapters.tools_known import KnownTools
from services.orchestrator.domain import asking
from services.orchestrator.domain.catalogue import MOST_OFFERED, Catalogue
from services.orchestrator.domain.events import Failure
from services.orchestrator.domain.tool import Tool
from services.orchestrator.toolports import Invocation, Requests, Returned

_ACTIVE: Final = "state = active"
_BUILTIN: Final = "state = active AND kind = builtin"
_ELICITATION: Final = structs.from_dict(asking.ELICITATION, Struct())


class GrpcTools:
    """Asks the tool registry; its lists of tools may be `ttl` old."""

    def __init__(self, channel: grpc.aio.Channel, *, timeout: timedelta, ttl: timedelta) -> None:
        self._stub: pb_grpc.ToolRegistryServiceAsyncStub = pb_grpc.ToolRegistryServiceStub(channel)
        self._timeout = timeout.total_seconds()
        self._known = KnownTools(self._list_offered, self._get, ttl)

    async def catalogue(self, tenant: str) -> Catalogue:
        """See `Tools`."""
        _check_asks_for(tenant)
        return await self._known.catalogue(tenant)

    async def find(self, tenant: str, name: str, version: str = "") -> Tool:
        """See `Tools`."""
        _check_asks_for(tenant)
        return await self._known.find(tenant, name, version)

    async def call(self, invocation: Invocation) -> Returned:
        """See `Tools`."""
        request, timeout = _request(invocation), invocation.timeout
        if not invocation.tool.reports_progress:
            return _returned(await unary(self._stub.CallTool, request, timeout=timeout))
        calling = streaming(self._stub.StreamCallTool, request, timeout=timeout)
        async with aclosing(calling) as events:
            return await _heard(events, invocation.report)

    async def _get(self, name: str, version: str) -> pb.Tool:
        request = pb.GetToolRequest(name=name, version=version)
        return await unary(self._stub.GetTool, request, timeout=self._timeout)

    async def _list_offered(self) -> Sequence[pb.Tool]:
        """All that can be offered; where these are too many, so many that it shows, and the
        built-in ones."""
        tools = await self._listed(_ACTIVE)
        return tools if len(tools) <= MOST_OFFERED else [*tools, *await self._listed(_BUILTIN)]

    async def _listed(self, which: str) -> Sequence[pb.Tool]:
        """The first of a list, and not more of them than it takes to be too many."""
        request = pb.ListToolsRequest(page_size=MOST_OFFERED + 1, filter=which)
        tools: list[pb.Tool] = []
        while True:
            page = await unary(self._stub.ListTools, request, timeout=self._timeout)
            tools += page.tools
            if len(tools) > MOST_OFFERED or not page.next_page_token:
                return tools
            request.page_token = page.next_page_token


def _check_asks_for(tenant: str) -> None:
    """What the registry says is kept under a tenant, and is said to the principal of the context.

    Raises:
        LookupError: they are not the same; nothing must be kept then.
    """
    if current.get().principal.tenant != tenant:
        raise LookupError(tenant)


def _request(invocation: Invocation) -> pb.CallToolRequest:
    tool = invocation.tool
    request = pb.CallToolRequest(
        name=tool.name,
        version=tool.version,
        tool_call_id=invocation.call_id,
        idempotency_key=invocation.idempotency_key,
        request_state=invocation.request_state,
    )
    structs.from_dict(invocation.input, request.input)
    if invocation.capabilities is asking.ELICITATION:
        request.capabilities.CopyFrom(_ELICITATION)
    else:
        request.capabilities.SetInParent()
        structs.from_dict(invocation.capabilities, request.capabilities)
    if invocation.responses is not None:
        request.input_responses.SetInParent()
        structs.from_dict(invocation.responses, request.input_responses)
    return request


async def _heard(events: AsyncIterable[pb.ToolCallEvent], report: Report) -> Returned:
    """What a call came to, and on the way there what the tool said."""
    async for event in events:
        if event.HasField("response"):
            return _returned(event.response)
        if event.HasField("progress"):
            said = event.progress
            total = said.total if said.HasField("total") else None
            report(Progress(said.progress, total, said.message))
        elif event.HasField("log"):
            report(Logged(event.log.level, event.log.message))
    raise Internal("PEER_FAILED", "the tool registry ended a call without its outcome")


def _returned(response: pb.CallToolResponse) -> Returned:
    warnings = tuple((each.code, each.message) for each in response.warnings)
    latency_ms = response.observability.latency_ms
    if response.status == "success":
        content = [structs.to_dict(each) for each in response.content]
        has_result = response.HasField("result")
        output = structs.to_value(response.result) if has_result else _text_of(content)
        return Returned(output, None, latency_ms, content=content, warnings=warnings)
    if response.status == "input_required":
        requests = Requests(structs.to_dict(response.input_requests), response.request_state)
        return Returned(None, None, latency_ms, warnings=warnings, requests=requests)
    error = response.error
    failed = Failure("FAILED_PRECONDITION", error.reason, error.message, error.suggested_fix)
    return Returned(None, failed, latency_ms, warnings=warnings)


def _text_of(content: Sequence[dict[str, object]]) -> str | None:
    """What content blocks say in words; None if they say nothing."""
    texts = [str(each.get("text", "")) for each in content if each.get("type") == "text"]
    return "\n".join(texts) or None
