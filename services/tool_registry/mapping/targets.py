"""Targets as protobuf, and back; pure."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from runplane.tool_registry.v1 import targets_pb2
from runplane.tool_registry.v1 import tool_registry_pb2 as pb

from services.tool_registry.domain.targets import (
    Builtin,
    Client,
    Grpc,
    Http,
    HttpAuth,
    Mcp,
    Target,
)

KINDS: Final[dict[type[Target], "pb.ToolKind.ValueType"]] = {
    Builtin: pb.TOOL_KIND_BUILTIN,
    Http: pb.TOOL_KIND_HTTP,
    Grpc: pb.TOOL_KIND_GRPC,
    Mcp: pb.TOOL_KIND_MCP,
    Client: pb.TOOL_KIND_CLIENT,
}


def target(message: pb.Tool) -> Target:
    """Where a tool runs; `Builtin` where it does not say."""
    name = message.WhichOneof("target")
    return _READ[name](getattr(message, name)) if name else Builtin()


def set_target(of: Target, into: pb.Tool) -> None:
    """Say where a tool runs."""
    into.kind = KINDS[type(of)]
    if not isinstance(of, Builtin):
        _WRITTEN[type(of)](of, into)


def auth(message: targets_pb2.HttpAuth) -> HttpAuth:
    """How requests prove who sends them."""
    return HttpAuth(message.scheme, message.secret, message.name)


def _http(message: targets_pb2.HttpTarget) -> Http:
    return Http(
        method=message.method,
        url=message.url,
        query=tuple(message.query),
        headers=dict(message.headers),
        header_fields=dict(message.header_fields),
        body=message.body,
        result=message.result,
        auth=auth(message.auth) if message.HasField("auth") else None,
    )


def _grpc(message: targets_pb2.GrpcTarget) -> Grpc:
    return Grpc(
        address=message.address,
        method=message.method,
        tls=message.tls,
        descriptor_set=message.descriptor_set,
        metadata=dict(message.metadata),
        secret=message.secret,
    )


def _set_http(of: Http, into: pb.Tool) -> None:
    made = targets_pb2.HttpTarget(
        method=of.method,
        url=of.url,
        query=of.query,
        headers=of.headers,
        header_fields=of.header_fields,
        body=of.body,
        result=of.result,
    )
    if of.auth is not None:
        made.auth.MergeFrom(
            targets_pb2.HttpAuth(scheme=of.auth.scheme, name=of.auth.name, secret=of.auth.secret)
        )
    into.http.CopyFrom(made)


def _set_grpc(of: Grpc, into: pb.Tool) -> None:
    into.grpc.CopyFrom(
        targets_pb2.GrpcTarget(
            address=of.address,
            method=of.method,
            tls=of.tls,
            descriptor_set=of.descriptor_set,
            metadata=of.metadata,
            secret=of.secret,
        )
    )


def _set_mcp(of: Mcp, into: pb.Tool) -> None:
    into.mcp.CopyFrom(targets_pb2.McpTarget(server=of.server, tool=of.tool))


def _set_client(of: Client, into: pb.Tool) -> None:
    into.client.SetInParent()


_READ: Final[Mapping[str, Callable[[Any], Target]]] = {
    "http": _http,
    "grpc": _grpc,
    "mcp": lambda message: Mcp(message.server, message.tool),
    "client": lambda message: Client(),
}
_WRITTEN: Final[Mapping[type[Target], Callable[[Any, pb.Tool], None]]] = {
    Http: _set_http,
    Grpc: _set_grpc,
    Mcp: _set_mcp,
    Client: _set_client,
}
