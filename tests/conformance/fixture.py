"""The MCP server that the suites want to see: `python -m tests.conformance.fixture PORT`.

Its tools, resources and prompts have the names and answers that the suites ask for. It is no part
of the product: the registry imports from it, and the suites talk with the edge.
"""

import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import uvicorn
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CompleteRequestParams,
    GetPromptRequestParams,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    SubscriptionsListenRequestParams,
)

from tests.conformance import lasting, plain, questions

Context = ServerRequestContext[Any, Any]
Result = dict[str, Any]
Tool = Callable[[Context, Result], Awaitable[Result]]

_ANY: Final[Result] = {"type": "object", "properties": {}}
_ADDRESS: Final[Result] = {
    "$anchor": "addressDef",
    "type": "object",
    "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
}
_RICH: Final[Result] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {"address": _ADDRESS},
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def _fields(**types: str) -> Result:
    return {"type": "object", "properties": {name: {"type": kind} for name, kind in types.items()}}


_REGION: Final[Result] = {
    "type": "object",
    "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
}
PLAIN: Final[dict[str, tuple[Tool, Result]]] = {
    "test_simple_text": (plain.simple_text, _ANY),
    "test_image_content": (plain.image, _ANY),
    "test_audio_content": (plain.audio, _ANY),
    "test_embedded_resource": (plain.embedded_resource, _ANY),
    "test_multiple_content_types": (plain.multiple_types, _ANY),
    "test_tool_with_logging": (plain.with_logging, _ANY),
    "test_tool_with_progress": (plain.with_progress, _ANY),
    "test_error_handling": (plain.failing, _ANY),
    "json_schema_2020_12_tool": (plain.json_schema, _RICH),
    "test_logging_tool": (plain.logging_if_asked, _ANY),
    "test_streaming_elicitation": (plain.streaming, _ANY),
    "test_custom_header": (plain.header_echo, _REGION),
    "greet": (plain.greet, _fields(name="string")),
    "test_elicitation": (questions.person, _fields(message="string")),
    "test_elicitation_sep1034_defaults": (questions.defaults, _ANY),
    "test_elicitation_sep1330_enums": (questions.enums, _ANY),
    "test_sampling": (questions.sampling, _fields(prompt="string")),
    "test_missing_capability": (questions.missing_capability, _ANY),
    "test_input_required_result_elicitation": (questions.elicitation, _ANY),
    "test_input_required_result_sampling": (questions.sampling, _ANY),
    "test_input_required_result_list_roots": (questions.list_roots, _ANY),
    "test_input_required_result_request_state": (questions.request_state, _ANY),
    "test_input_required_result_multiple_inputs": (questions.multiple_inputs, _ANY),
    "test_input_required_result_multi_round": (questions.multi_round, _ANY),
    "test_input_required_result_tampered_state": (questions.tampered_state, _ANY),
    "test_input_required_result_capabilities": (questions.capabilities, _ANY),
}
LASTING: Final[dict[str, tuple[Tool, Result]]] = {
    "slow_compute": (lasting.slow_compute, _fields(seconds="number", label="string")),
    "failing_job": (lasting.failing_job, _ANY),
    "protocol_error_job": (lasting.protocol_error_job, _ANY),
    "confirm_delete": (lasting.confirm_delete, _fields(filename="string")),
    "multi_input": (lasting.multi_input, _ANY),
    "test_tool_with_task": (lasting.with_task, _ANY),
}
_RESOURCES: Final[dict[str, Result]] = {
    "test://static-text": {
        "mimeType": "text/plain",
        "text": "This is the content of the static text resource.",
    },
    "test://static-binary": {"mimeType": "image/png", "blob": plain.PIXEL},
    "test://watched-resource": {"mimeType": "text/plain", "text": "Watched resource content"},
}
_CACHED: Final = (
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
)
_TEMPLATE: Final = "test://template/{id}/data"
_ARGUMENTS: Final[dict[str, list[str]]] = {
    "test_simple_prompt": [],
    "test_prompt_with_arguments": ["arg1", "arg2"],
    "test_prompt_with_embedded_resource": ["resourceUri"],
    "test_prompt_with_image": [],
    "test_input_required_result_prompt": [],
}


class Fixture:
    """What the suites see. Some of its tools change its own lists."""

    def __init__(self) -> None:
        self._bus = InMemorySubscriptionBus()
        self.listen = ListenHandler(self._bus)
        self._changes = 0
        self._tools: dict[str, tuple[Tool, Result]] = {
            **PLAIN,
            **LASTING,
            "test_trigger_tool_change": (self._change_tools, _ANY),
            "test_trigger_prompt_change": (self._change_prompts, _ANY),
        }
        self._prompts = dict(_ARGUMENTS)

    async def tools(self, ctx: Context, params: PaginatedRequestParams | None) -> Result:
        return {"tools": [_shown(ctx, name, schema) for name, (_, schema) in self._tools.items()]}

    async def call(self, ctx: Context, params: CallToolRequestParams) -> Result:
        if params.name not in self._tools:
            raise MCPError(INVALID_PARAMS, f"Unknown tool: {params.name}")
        tool, _ = self._tools[params.name]
        return await tool(ctx, dict(params.arguments or {}))

    async def prompts(self, ctx: Context, params: PaginatedRequestParams | None) -> Result:
        return {
            "prompts": [
                {
                    "name": name,
                    "description": f"The prompt {name}",
                    "arguments": [{"name": each, "required": True} for each in arguments],
                }
                for name, arguments in self._prompts.items()
            ]
        }

    async def prompt(self, ctx: Context, params: GetPromptRequestParams) -> Result:
        if params.name not in self._prompts:
            raise MCPError(INVALID_PARAMS, f"Unknown prompt: {params.name}")
        given = params.arguments or {}
        if params.name == "test_input_required_result_prompt":
            return await questions.prompt(ctx, dict(given))
        return {"messages": [_message(block) for block in _blocks(params.name, given)]}

    async def _change_tools(self, ctx: Context, arguments: Result) -> Result:
        self._changes += 1
        self._tools[f"test_added_{self._changes}"] = (plain.simple_text, _ANY)
        self._tools.pop(f"test_added_{self._changes - 1}", None)
        await self._bus.publish(ToolsListChanged())
        return plain.text("Mutation triggered")

    async def _change_prompts(self, ctx: Context, arguments: Result) -> Result:
        self._changes += 1
        self._prompts[f"test_added_{self._changes}"] = []
        self._prompts.pop(f"test_added_{self._changes - 1}", None)
        await self._bus.publish(PromptsListChanged())
        return plain.text("Mutation triggered")


def _shown(ctx: Context, name: str, schema: Result) -> Result:
    shown: Result = {"name": name, "description": f"The tool {name}", "inputSchema": schema}
    if name in LASTING:
        shown["_meta"] = {"dev.runplane/long-running": True}
    return shown


def _blocks(name: str, given: dict[str, str]) -> list[Result]:
    words = {"type": "text", "text": "This is a simple prompt for testing."}
    if name == "test_prompt_with_arguments":
        said = f"Prompt with arguments: arg1='{given.get('arg1')}', arg2='{given.get('arg2')}'"
        return [{"type": "text", "text": said}]
    if name == "test_prompt_with_embedded_resource":
        uri = given.get("resourceUri", "test://example-resource")
        said = "Embedded resource content for testing."
        return [plain.embedded(uri, "text/plain", said), words]
    if name == "test_prompt_with_image":
        return [plain.IMAGE, words]
    return [words]


def _message(block: Result) -> Result:
    return {"role": "user", "content": block}


async def _resources(ctx: Context, params: PaginatedRequestParams | None) -> Result:
    return {
        "resources": [
            {"uri": uri, "name": uri.rpartition("/")[2], "mimeType": content["mimeType"]}
            for uri, content in _RESOURCES.items()
        ]
    }


async def _templates(ctx: Context, params: PaginatedRequestParams | None) -> Result:
    template = {"uriTemplate": _TEMPLATE, "name": "template", "mimeType": "application/json"}
    return {"resourceTemplates": [template]}


async def _read(ctx: Context, params: ReadResourceRequestParams) -> Result:
    uri = params.uri
    if uri in _RESOURCES:
        return {"contents": [{"uri": uri, **_RESOURCES[uri]}]}
    prefix, suffix = _TEMPLATE.split("{id}")
    if uri.startswith(prefix) and uri.endswith(suffix):
        found = uri.removeprefix(prefix).removesuffix(suffix)
        said = f'{{"id": "{found}", "templateTest": true, "data": "Data for ID: {found}"}}'
        return {"contents": [{"uri": uri, "mimeType": "application/json", "text": said}]}
    raise MCPError(INVALID_PARAMS, f"Resource not found: {uri}", {"uri": uri})


async def _complete(ctx: Context, params: CompleteRequestParams) -> Result:
    values = [each for each in ("paris", "park", "party") if each.startswith(params.argument.value)]
    return {"completion": {"values": values, "total": len(values), "hasMore": False}}


def _whole(handler: Any) -> Any:
    """A handler whose results say that they are all there is, unless they say otherwise."""

    async def handle(ctx: Context, params: Any) -> Result:
        return {"resultType": "complete", **await handler(ctx, params)}

    return handle


def server() -> Server[Any]:
    """A fixture of its own."""
    fixture = Fixture()
    hints: Any = dict.fromkeys(_CACHED, CacheHint(ttl_ms=500))
    made: Server[Any] = Server("conformance-fixture", version="1.0.0", cache_hints=hints)
    handlers: list[tuple[str, type[Any], Any]] = [
        ("tools/list", PaginatedRequestParams, fixture.tools),
        ("tools/call", CallToolRequestParams, fixture.call),
        ("prompts/list", PaginatedRequestParams, fixture.prompts),
        ("prompts/get", GetPromptRequestParams, fixture.prompt),
        ("resources/list", PaginatedRequestParams, _resources),
        ("resources/templates/list", PaginatedRequestParams, _templates),
        ("resources/read", ReadResourceRequestParams, _read),
        ("completion/complete", CompleteRequestParams, _complete),
    ]
    for method, params, handler in handlers:
        made.add_request_handler(method, params, _whole(handler))
    made.add_request_handler(
        "subscriptions/listen", SubscriptionsListenRequestParams, fixture.listen
    )
    return made


def main() -> None:
    """Serve over streamable HTTP."""
    application = server().streamable_http_app(stateless_http=True)
    with suppress(KeyboardInterrupt):
        uvicorn.run(application, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")


if __name__ == "__main__":
    main()
