"""What a target may say, of each kind. Pure."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from services.chassis.errors import Violation
from services.tool_registry.domain import grpc_target, http_target
from services.tool_registry.domain.targets import Builtin, Client, Grpc, Http, Mcp
from services.tool_registry.domain.tool import Entry

MAX_NAME: Final = 128

Document = Mapping[str, object]


def faults(entry: Entry) -> Iterator[Violation]:
    """What is wrong with an entry's target."""
    document = entry.definition.input_schema.document
    yield from _CHECKS[type(entry.target)](entry.target, document)


def _builtin(target: Builtin, schema: Document) -> Iterator[Violation]:
    yield Violation("tool", "does not say where it runs", "set http, grpc or client")


def _mcp(target: Mcp, schema: Document) -> Iterator[Violation]:
    for name, value in (("server", target.server), ("tool", target.tool)):
        if not 0 < len(value) <= MAX_NAME:
            fix = f"send 1 to {MAX_NAME} characters"
            yield Violation(f"tool.mcp.{name}", "is no name", fix)


_CHECKS: Final[Mapping[type, Callable[[Any, Document], Iterator[Violation]]]] = {
    Builtin: _builtin,
    Client: lambda target, schema: iter(()),
    Mcp: _mcp,
    Http: http_target.faults,
    Grpc: lambda target, schema: grpc_target.faults(target),
}
