"""What an upstream is asked, as the body of a chat completion. Pure."""

import json
from collections.abc import Mapping
from typing import Final

from services.chassis.errors import Violation, invalid
from services.inference.domain.request import JSON, Message, Request, Sampling
from services.inference.domain.tools import CHOICES, Tool
from services.inference.engines import chat
from services.inference.engines.openai_http.upstream import Upstream

_MAX_SEED: Final = 0x7FFF_FFFF
_ASKED_FOR_JSON: Final = (
    "Answer with one JSON object and nothing else. It must match this JSON Schema: "
)


def body(request: Request, upstream: Upstream, context_tokens: int) -> dict[str, JSON]:
    """The request's body.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; it has more stop texts than the upstream takes.
    """
    most = min(request.sampling.max_tokens or upstream.default_max_tokens, context_tokens)
    return {
        **conversation(request, upstream),
        **_sampling(request.sampling, upstream),
        **_bound(request, upstream),
        **_tools(request),
        upstream.limit_field: most,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def conversation(request: Request, upstream: Upstream) -> dict[str, JSON]:
    """What was said so far, and how to go on from it."""
    messages = request.messages
    if request.schema is not None and upstream.schema_mode == "json_object":
        wanted = _ASKED_FOR_JSON + json.dumps(request.schema.document)
        messages = (Message("system", wanted), *messages)
    going_on = (upstream.dialect.going_on or {}) if request.prefix else {}
    return {"model": upstream.model, "messages": chat.turns(messages, request.prefix), **going_on}


def _sampling(sampling: Sampling, upstream: Upstream) -> dict[str, JSON]:
    if len(sampling.stop) > upstream.dialect.max_stops:
        most = upstream.dialect.max_stops
        fault = f"has {len(sampling.stop)} texts; the upstream of {upstream.name} takes {most}"
        raise invalid(Violation("sampling.stop", fault, f"send at most {most}"))
    said: dict[str, JSON] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stop": list(sampling.stop) or None,
        "seed": sampling.seed if sampling.seed is None else sampling.seed & _MAX_SEED,
    }
    return {name: value for name, value in said.items() if value is not None}


def _bound(request: Request, upstream: Upstream) -> dict[str, JSON]:
    if request.schema is None:
        return {}
    if upstream.schema_mode == "json_object":
        return {"response_format": {"type": "json_object"}}
    document: Mapping[str, JSON] = request.schema.document
    if upstream.dialect.extra == "llamacpp":
        document = chat.guided(document)
    schema: JSON = {"name": "output", "schema": document}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _tools(request: Request) -> dict[str, JSON]:
    if not request.tools:
        return {}
    choice: JSON = request.tool_choice or "auto"
    if choice not in CHOICES:
        choice = {"type": "function", "function": {"name": request.tool_choice}}
    return {"tools": [_tool(tool) for tool in request.tools], "tool_choice": choice}


def _tool(tool: Tool) -> JSON:
    described: JSON = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.input_schema,
    }
    return {"type": "function", "function": described}
