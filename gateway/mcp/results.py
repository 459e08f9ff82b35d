"""What came of a call, as MCP shows it."""

import json
from collections.abc import Mapping
from typing import Any, Final

from gateway.mcp import refusals

Wire = dict[str, Any]

CALL: Final = "dev.runplane/call"
ERROR: Final = "dev.runplane/error"
WARNINGS: Final = "dev.runplane/warnings"

COMPLETE: Final = "complete"
INPUT_REQUIRED: Final = "input_required"
PROTOCOL_ERRORS: Final = {
    "MCP_REFUSED": refusals.INVALID_PARAMS,
    "MCP_ERROR": refusals.INTERNAL_ERROR,
    "MCP_ANSWER_INVALID": refusals.INTERNAL_ERROR,
}
"""What servers say by an error and not by a result, as JSON-RPC numbers it."""
_TEXT: Final = frozenset({"type", "text"})
_readable: Final = json.JSONEncoder(ensure_ascii=False).encode
_BLOCKS: Final = frozenset({"text", "image", "audio", "resource", "resource_link"})


def complete(**fields: Any) -> Wire:
    """A result that is all there is."""
    return {**fields, "resultType": COMPLETE}


def of_call(response: Mapping[str, Any], *, is_modern: bool, has_schema: bool = False) -> Wire:
    """A `CallToolResponse`. `has_schema`: whether the tool says what its results look like."""
    if response.get("status") == INPUT_REQUIRED:
        return asked(response)
    meta = _meta(response)
    if response.get("status") == "error":
        return failure(response.get("error") or {}, meta)
    value, content = response.get("result"), response.get("content") or []
    if not content and not has_schema and (blocks := blocks_of(value)):
        value, content = None, blocks
    return success(value, content, meta, is_modern=is_modern, has_schema=has_schema)


def success(
    value: Any, content: list[Wire], meta: Wire, *, is_modern: bool, has_schema: bool
) -> Wire:
    """A result: as content blocks, and as JSON where a client of its version takes it.

    Versions before 2026-07-28 take objects only. A plain text is not said twice, unless a schema
    promises it.
    """
    result: Wire = {"content": content or text(value), "isError": False, "resultType": COMPLETE}
    is_plain = isinstance(value, str) and not has_schema
    if isinstance(value, dict) or (is_modern and value is not None and not is_plain):
        result["structuredContent"] = value
    if meta:
        result["_meta"] = meta
    return result


def failure(error: Mapping[str, Any], meta: Wire | None = None) -> Wire:
    """What a tool could not do, for the model to read."""
    said = {key: error[key] for key in ("reason", "message", "suggested_fix") if error.get(key)}
    lines = [
        f"{said.get('reason', 'TOOL_FAILED')}: {said.get('message', '')}",
        said.get("suggested_fix", ""),
    ]
    return {
        "content": text("\n".join(filter(None, lines))),
        "isError": True,
        "resultType": COMPLETE,
        "_meta": {**(meta or {}), ERROR: said},
    }


def blocks_of(value: Any) -> list[Wire]:
    """The content blocks that a result consists of, where a tool answered nothing else."""
    if not (isinstance(value, dict) and len(value) == 1):
        return []
    blocks = value.get("content")
    if not isinstance(blocks, list):
        return []
    kinds = {block.get("type") if isinstance(block, dict) else None for block in blocks}
    return blocks if kinds <= _BLOCKS else []


def is_plain(result: Wire) -> bool:
    """Whether a result is a text, its JSON, and what we say of it: then it is one in any version
    that has structured content of any kind, and nobody has to look."""
    content = result.get("content", ())
    if len(content) != 1 or content[0].keys() != _TEXT:
        return False
    return content[0]["type"] == "text" and isinstance(content[0]["text"], str)


def asked(response: Mapping[str, Any]) -> Wire:
    """What has to be answered first."""
    result: Wire = {"resultType": INPUT_REQUIRED}
    if requests := response.get("input_requests"):
        result["inputRequests"] = requests
    if state := response.get("request_state"):
        result["requestState"] = state
    return result


def text(value: Any) -> list[Wire]:
    """A value as a block of text: a string as it is, anything else as JSON."""
    return [{"type": "text", "text": value if isinstance(value, str) else _readable(value)}]


def _meta(response: Mapping[str, Any]) -> Wire:
    seen = response.get("observability") or {}
    meta: Wire = {
        CALL: {
            "tool_call_id": response.get("tool_call_id", ""),
            "tool_version": response.get("tool_version", ""),
            "trace_id": seen.get("trace_id", ""),
            "latency_ms": seen.get("latency_ms", 0),
        }
    }
    if warnings := response.get("warnings"):
        meta[WARNINGS] = warnings
    return meta
