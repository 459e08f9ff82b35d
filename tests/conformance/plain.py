"""Tools of the fixture server that answer at once, in all the forms that MCP has."""

import asyncio
import json
from typing import Any, Final

from mcp.server.context import ServerRequestContext
from mcp_types import (
    LOG_LEVEL_META_KEY,
    LoggingMessageNotification,
    LoggingMessageNotificationParams,
)

Context = ServerRequestContext[Any, Any]
Result = dict[str, Any]

PIXEL: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQ"
    "IAX8jx0gAAAABJRU5ErkJggg=="
)
SOUND: Final = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
IMAGE: Final = {"type": "image", "data": PIXEL, "mimeType": "image/png"}
_PAUSE: Final = 0.02


def text(said: str) -> Result:
    """A result that is a text."""
    return {"content": [{"type": "text", "text": said}]}


def embedded(uri: str, mime_type: str, said: str) -> Result:
    """A block that is a resource."""
    return {"type": "resource", "resource": {"uri": uri, "mimeType": mime_type, "text": said}}


async def simple_text(ctx: Context, arguments: Result) -> Result:
    return text("This is a simple text response for testing.")


async def image(ctx: Context, arguments: Result) -> Result:
    return {"content": [IMAGE]}


async def audio(ctx: Context, arguments: Result) -> Result:
    return {"content": [{"type": "audio", "data": SOUND, "mimeType": "audio/wav"}]}


async def embedded_resource(ctx: Context, arguments: Result) -> Result:
    said = "This is an embedded resource content."
    return {"content": [embedded("test://embedded-resource", "text/plain", said)]}


async def multiple_types(ctx: Context, arguments: Result) -> Result:
    said = json.dumps({"test": "data", "value": 123})
    mixed = embedded("test://mixed-content-resource", "application/json", said)
    words = {"type": "text", "text": "Multiple content types test:"}
    return {"content": [words, IMAGE, mixed]}


async def with_logging(ctx: Context, arguments: Result) -> Result:
    for said in ("started", "processing data", "completed"):
        await _log(ctx, f"Tool execution {said}")
        await asyncio.sleep(_PAUSE)
    return text("Tool with logging executed successfully")


async def logging_if_asked(ctx: Context, arguments: Result) -> Result:
    await _log(ctx, "Diagnostic trace logging activated")
    return text("Logging evaluated")


async def with_progress(ctx: Context, arguments: Result) -> Result:
    for done in (0, 50, 100):
        await ctx.session.report_progress(done, 100, f"Completed step {done} of 100")
        await asyncio.sleep(_PAUSE)
    return text("0")


async def streaming(ctx: Context, arguments: Result) -> Result:
    await ctx.session.report_progress(50, 100, None)
    return text("Streaming complete")


async def failing(ctx: Context, arguments: Result) -> Result:
    said = text("This tool intentionally returns an error for testing")
    return {**said, "isError": True}


async def json_schema(ctx: Context, arguments: Result) -> Result:
    return text(f"JSON Schema 2020-12 tool called with: {json.dumps(arguments)}")


async def greet(ctx: Context, arguments: Result) -> Result:
    return text(f"Hello, {arguments.get('name', 'World')}!")


async def header_echo(ctx: Context, arguments: Result) -> Result:
    return text(f"region: {arguments.get('region', '')}")


async def _log(ctx: Context, said: str) -> None:
    """Log, if the request may be told: since 2026-07-28 it has to say so."""
    is_asked = LOG_LEVEL_META_KEY in ((ctx.params or {}).get("_meta") or {})
    if ctx.protocol_version >= "2026-07-28" and not is_asked:
        return
    params = LoggingMessageNotificationParams(level="info", data=said)
    await ctx.session.send_notification(
        LoggingMessageNotification(params=params), related_request_id=ctx.request_id
    )
