"""MCP servers as protobuf, and back; pure."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from runplane.tool_registry.v1 import servers_pb2 as pb

from services.chassis import structs
from services.tool_registry.domain.server import (
    DEFAULT_TIMEOUT,
    MAX_SKIPPED,
    Command,
    Seen,
    Server,
    State,
)
from services.tool_registry.domain.server_changes import MASKED, MAX_MASK

_MILLISECOND: Final = timedelta(milliseconds=1)
_MOST_MS: Final = 1e12
STATES: Final[dict[State, "pb.McpServerState.ValueType"]] = {
    State.CONNECTING: pb.MCP_SERVER_STATE_CONNECTING,
    State.CONNECTED: pb.MCP_SERVER_STATE_CONNECTED,
    State.UNAVAILABLE: pb.MCP_SERVER_STATE_UNAVAILABLE,
}


def server(message: pb.McpServer) -> Server:
    """A server as somebody sent it; what is output only is passed over."""
    return Server(
        namespace=message.namespace,
        url=message.url,
        command=_command(message.command) if message.HasField("command") else None,
        secret=message.secret,
        keeps_names=message.keeps_names,
        tags=tuple(message.tags),
        requires_approval=message.requires_approval,
        timeout=_timeout(message.timeout_ms),
    )


def mask(request: pb.UpdateMcpServerRequest) -> Sequence[str]:
    """Which fields an update replaces."""
    if request.update_mask:
        return list(request.update_mask[: MAX_MASK + 1])
    return [field.name for field, _ in request.server.ListFields() if field.name in MASKED]


def registration(kept: Server) -> pb.McpServer:
    """A server as it is kept."""
    message = pb.McpServer(
        namespace=kept.namespace,
        secret=kept.secret,
        keeps_names=kept.keeps_names,
        tags=kept.tags,
        requires_approval=kept.requires_approval,
        timeout_ms=kept.timeout / _MILLISECOND,
    )
    if kept.command is None:
        message.url = kept.url
    else:
        message.command.CopyFrom(
            pb.StdioCommand(
                program=kept.command.program,
                arguments=kept.command.arguments,
                environment=kept.command.environment,
                secret_environment=kept.command.secret_environment,
            )
        )
    if kept.create_time is not None:
        structs.set_time(message.create_time, kept.create_time)
    return message


def message(kept: Server, seen: Seen) -> pb.McpServer:
    """A server as callers see it."""
    shown = registration(kept)
    shown.state = STATES[seen.state]
    shown.problem = seen.problem
    shown.protocol_version = seen.protocol_version
    shown.server_name = seen.name
    shown.server_version = seen.version
    shown.tool_count = seen.tool_count
    shown.skipped.extend(seen.skipped[:MAX_SKIPPED])
    if seen.refresh_time is not None:
        structs.set_time(shown.refresh_time, seen.refresh_time)
    return shown


def _command(message: pb.StdioCommand) -> Command:
    return Command(
        program=message.program,
        arguments=tuple(message.arguments),
        environment=dict(message.environment),
        secret_environment=dict(message.secret_environment),
    )


def _timeout(milliseconds: float) -> timedelta:
    """What is no number of milliseconds becomes one that is refused."""
    if milliseconds == 0:
        return DEFAULT_TIMEOUT
    if not 0 < milliseconds < _MOST_MS:
        return timedelta(0)
    return timedelta(milliseconds=milliseconds)
