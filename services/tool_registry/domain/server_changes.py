"""What becomes of an MCP server that is changed. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from services.chassis.errors import Aborted, Violation, invalid
from services.tool_registry.domain.server import Server

MASKED: Final = {
    "url": "url",
    "command": "command",
    "secret": "secret",
    "keeps_names": "keeps_names",
    "tags": "tags",
    "requires_approval": "requires_approval",
    "timeout_ms": "timeout",
}
"""What a mask may name, and what that is here."""
MAX_MASK: Final = 32
_TRANSPORTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "url": {"command": None},
    "command": {"url": ""},
}
"""What each takes the place of."""


def updated(server: Server, new: Server, mask: Sequence[str]) -> Server:
    """The server with these fields of a new one.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; the mask names something else, or the new one another
            namespace.
    """
    if faults := list(_faults(server, new, mask)):
        raise invalid(*faults)
    changes: dict[str, Any] = {}
    for name in mask:
        changes |= {**_TRANSPORTS.get(name, {}), MASKED[name]: getattr(new, MASKED[name])}
    return replace(server, **changes)


def conflict(namespace: str) -> Aborted:
    """That somebody else changed a server first."""
    return Aborted(
        "MCP_SERVER_CONFLICT",
        f"somebody else changed the MCP server {namespace} meanwhile",
        namespace=namespace,
        field="namespace",
        suggested_fix="get the server again and repeat the change",
    )


def _faults(server: Server, new: Server, mask: Sequence[str]) -> Iterator[Violation]:
    if new.namespace not in {"", server.namespace}:
        yield Violation("server.namespace", f"is not {server.namespace}", "leave it out")
    if len(mask) > MAX_MASK:
        yield Violation("update_mask", "names fields twice", "name each field once")
    for index, name in enumerate(mask[:MAX_MASK]):
        if name not in MASKED:
            fix = f"use some of {', '.join(MASKED)}"
            yield Violation(f"update_mask[{index}]", "is no field that can be replaced", fix)
        elif name in _TRANSPORTS and not getattr(new, name):
            yield Violation(f"server.{name}", "is to be replaced and is not there", f"send {name}")
