"""Tool calls, put together from the pieces in which upstreams stream them. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from google.protobuf.struct_pb2 import Struct

from services.chassis import structs
from services.chassis.errors import InvalidArgument
from services.inference.domain.request import JSON
from services.inference.domain.tools import ToolCall
from services.inference.engines import failures


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class Calls:
    """Takes pieces, gives calls. There are at most so many; their size is the stream's."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._calls: dict[int, _Call] = {}

    def take(self, piece: JSON) -> None:
        """Take a piece of one call.

        Raises:
            Unavailable: `ENGINE_FAILED`; it is none.
        """
        if not isinstance(piece, Mapping):
            raise failures.engine_failed("the upstream sent a tool call that is no object")
        index, function = piece.get("index", len(self._calls)), piece.get("function")
        if not isinstance(index, int) or not 0 <= index < self._most:
            raise failures.engine_failed(f"the upstream made more than {self._most} tool calls")
        call = self._calls.setdefault(index, _Call())
        parts = function if isinstance(function, Mapping) else {}
        call.id = call.id or _text(piece.get("id"))
        call.name = call.name or _text(parts.get("name"))
        call.arguments.append(_text(parts.get("arguments")))

    def whole(self) -> tuple[ToolCall, ...]:
        """The calls.

        Raises:
            Unavailable: `ENGINE_FAILED`; one is cut, or has no name.
        """
        ordered = sorted(self._calls.items())
        return tuple(_whole(call, f"call_{index + 1}") for index, call in ordered)


def _whole(call: _Call, otherwise: str) -> ToolCall:
    try:
        given = json.loads("".join(call.arguments) or "{}")
    except (ValueError, RecursionError):
        raise failures.engine_failed("the upstream called a tool with what is no JSON") from None
    if not isinstance(given, dict) or not call.name:
        raise failures.engine_failed("the upstream called a tool without its name or its input")
    try:
        structs.from_dict(given, Struct())
    except InvalidArgument as error:
        raise failures.engine_failed(f"the upstream called a tool: {error.message}") from None
    return ToolCall(call.id[:64] or otherwise, call.name[:64], given)


def _text(value: JSON) -> str:
    return value if isinstance(value, str) else ""
