"""What the edge answers that no contract has, and what it has in common, as OpenAPI says it."""

from collections.abc import Mapping
from typing import Any, Final

_TEXT: Final = {"type": "string"}
_ANY: Final = {"type": "object"}

ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "description": "What went wrong, the same on every route.",
    "required": ["status", "code", "grpc_status", "error_code", "message"],
    "properties": {
        "status": {"const": "error", "description": "Tells that it is an error."},
        "code": {"type": "integer", "description": "The status of HTTP."},
        "grpc_status": {"type": "string", "description": "The canonical name of gRPC's code."},
        "error_code": {"type": "string", "description": "The reason. Programs test it."},
        "message": {"type": "string", "description": "For a developer: what happened."},
        "schema_path": {
            "type": "array",
            "items": _TEXT,
            "description": "Where in a schema, if one was violated.",
        },
        "suggested_fix": {"type": "string", "description": "What to do about it."},
        "details": {
            "type": "array",
            "items": _ANY,
            "description": "Messages of google.rpc, with `@type`.",
        },
        "request_id": {"type": "string", "description": "Names the request."},
        "trace_id": {"type": "string", "description": "The trace that it was part of."},
    },
}


def _header(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": _TEXT}


PARAMETERS: Final[dict[str, Any]] = {
    "IdempotencyKey": _header(
        "Idempotency-Key", "The same key has the same result, for 24 hours; where starts take one."
    ),
    "RequestId": _header("X-Request-Id", "Names this request; made up where it is absent."),
    "RequestTimeout": _header(
        "X-Request-Timeout", "How long the call may take: seconds, or with ms or s."
    ),
    "Traceparent": _header("traceparent", "The trace that this is part of (W3C Trace Context)."),
    "Version": _header("runplane-version", "The version of the protocol; 1.0."),
}


def _answered(
    name: str,
    summary: str,
    *,
    media_type: str = "application/json",
    schema: dict[str, Any] = _ANY,
    others: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A route's answer; `others` are statuses that it has beside 200."""
    whole = {"description": "The answer.", "content": {media_type: {"schema": schema}}}
    said = {status: {"description": text} for status, text in (others or {}).items()}
    responses = {"200": whole, **said}
    return {
        "tags": ["edge"],
        "operationId": f"edge_{name}",
        "summary": summary,
        "responses": responses,
    }


_UNCHANGED: Final = {"304": "It is still what `If-None-Match` says."}
_UNREADY: Final = {"503": "One of them does not."}

OWN: Final[dict[str, Any]] = {
    "/": {"get": _answered("About", "Says what this is, and lists its routes.")},
    "/healthz": {"get": _answered("Alive", "Says that the edge lives.")},
    "/readyz": {
        "get": _answered(
            "Ready", "Says whether every service behind the edge serves.", others=_UNREADY
        )
    },
    "/openapi.json": {"get": _answered("OpenApi", "This description.", others=_UNCHANGED)},
    "/docs": {
        "get": _answered(
            "Docs", "It, for people.", media_type="text/html", schema=_TEXT, others=_UNCHANGED
        )
    },
    "/mcp": {
        "post": _answered("Mcp", "Speaks MCP, by JSON-RPC.")
        | {"requestBody": {"required": True, "content": {"application/json": {"schema": _ANY}}}}
    },
}
