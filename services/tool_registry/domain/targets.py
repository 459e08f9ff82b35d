"""Where tools run. Data only: what they do is in the adapters, one for each kind."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Builtin:
    """In this process."""


@dataclass(frozen=True, slots=True)
class HttpAuth:
    """How a request proves who sends it."""

    scheme: str
    """`bearer`, `basic`, `header` or `query`."""
    secret: str
    """The secret's name."""
    name: str = ""
    """The header or the query parameter."""


@dataclass(frozen=True, slots=True)
class Http:
    """Behind an HTTP request; see the contract of `HttpTarget`."""

    method: str
    url: str
    query: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    header_fields: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    result: str = ""
    auth: HttpAuth | None = None


@dataclass(frozen=True, slots=True)
class Grpc:
    """Behind a gRPC method; see the contract of `GrpcTarget`."""

    address: str
    method: str
    tls: bool = False
    descriptor_set: bytes = b""
    metadata: Mapping[str, str] = field(default_factory=dict)
    secret: str = ""


@dataclass(frozen=True, slots=True)
class Mcp:
    """At an MCP server."""

    server: str
    tool: str


@dataclass(frozen=True, slots=True)
class Client:
    """At whoever started the task."""


Target = Builtin | Http | Grpc | Mcp | Client
