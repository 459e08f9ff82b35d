"""Who asks, and what they can take: read off the SDK's context of a request."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from mcp.server.connection import allowed_log_levels
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    LOG_LEVEL_META_KEY,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    LoggingMessageNotification,
    LoggingMessageNotificationParams,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from gateway.mcp.operations import Operation
from gateway.mcp.rpc import Caller
from gateway.mcp.sessions import Session
from gateway.mcp.stream import Stream
from services.chassis.asking import METHODS

CALLER: Final = "runplane.caller"
"""Where the ASGI scope has the `Caller`."""
SESSION: Final = "runplane.session"
"""The same of the `Session`, if there is one."""
STREAM: Final = "runplane.stream"
"""The same of the `Stream` that answers, if one does."""
TASKS: Final = "io.modelcontextprotocol/tasks"
# What a client can be asked for while something runs.
ASKABLE: Final = tuple(METHODS)


class Context(Protocol):
    """A request, as far as handlers look at it. The SDK's own context is one."""

    @property
    def params(self) -> Mapping[str, Any] | None:
        """What was sent, as it was sent."""

    @property
    def method(self) -> str:
        """What is wanted."""

    @property
    def protocol_version(self) -> str:
        """What is spoken."""

    @property
    def request_id(self) -> Any:
        """The JSON-RPC id."""

    @property
    def request(self) -> Any:
        """The HTTP request: its ASGI `scope`, and its `headers`."""

    @property
    def session(self) -> Any:
        """Where notifications go."""


def caller_of(ctx: Context) -> Caller:
    """On whose behalf."""
    caller: Caller = ctx.request.scope[CALLER]
    return caller


def operation_of(ctx: Context) -> Operation:
    """What is asked for, for those who count it."""
    return caller_of(ctx).operation


def session_of(ctx: Context) -> Session | None:
    """The session of a client before 2026-07-28 that can be asked for something."""
    session: Session | None = ctx.request.scope.get(SESSION)
    return session


def stream_of(ctx: Context) -> Stream | None:
    """The stream that answers such a client."""
    stream: Stream | None = ctx.request.scope.get(STREAM)
    return stream


def meta_of(ctx: Context) -> Mapping[str, Any]:
    """The request's `_meta`, as it was sent."""
    meta = (ctx.params or {}).get("_meta")
    return meta if isinstance(meta, Mapping) else {}


def is_modern(ctx: Context) -> bool:
    """Whether the request speaks 2026-07-28 or later."""
    return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS


def capabilities_of(ctx: Context) -> dict[str, Any]:
    """What the client says that it can do. Before 2026-07-28 nobody says so with each request."""
    said = meta_of(ctx).get(CLIENT_CAPABILITIES_META_KEY) if is_modern(ctx) else None
    return dict(said) if isinstance(said, Mapping) else {}


def askable(ctx: Context) -> dict[str, Any]:
    """What of that a tool may ask for."""
    said = capabilities_of(ctx)
    return {name: said[name] for name in ASKABLE if isinstance(said.get(name), Mapping)}


def answers_of(ctx: Context) -> dict[str, Any]:
    """Answers to what a request before asked for, as RPCs take them."""
    params = ctx.params or {}
    request: dict[str, Any] = {}
    if can := askable(ctx):
        request["capabilities"] = can
    if responses := params.get("inputResponses"):
        request["input_responses"] = responses
    if state := params.get("requestState"):
        request["request_state"] = state
    return request


def takes_tasks(ctx: Context) -> bool:
    """Whether the client can wait for a task."""
    extensions = capabilities_of(ctx).get("extensions")
    return isinstance(extensions, Mapping) and TASKS in extensions


def require_tasks(ctx: Context) -> None:
    """Refuse a client that has not said that it knows tasks. Raises `MCPError`."""
    if not takes_tasks(ctx):
        raise missing({"extensions": {TASKS: {}}})


def missing(capabilities: Mapping[str, Any]) -> MCPError:
    """The refusal of a client that cannot do what it would have to."""
    return MCPError(
        MISSING_REQUIRED_CLIENT_CAPABILITY,
        "the client does not declare a capability that this needs",
        {"requiredCapabilities": dict(capabilities)},
    )


def listens(ctx: Context) -> bool:
    """Whether the client wants to hear how something goes on."""
    meta = meta_of(ctx)
    return not is_modern(ctx) or "progressToken" in meta or LOG_LEVEL_META_KEY in meta


async def tell_progress(ctx: Context, progress: float, total: float | None, message: str) -> None:
    """Say how far it is, if the client asked for that."""
    await ctx.session.report_progress(progress, total, message or None)


async def tell_log(ctx: Context, level: Any, message: str, logger: str) -> None:
    """Pass on what a tool says, if the client asked for as much."""
    if level in allowed_log_levels(ctx.protocol_version, meta_of(ctx)):
        params = LoggingMessageNotificationParams(level=level, data=message, logger=logger)
        await ctx.session.send_notification(
            LoggingMessageNotification(params=params), related_request_id=ctx.request_id
        )
