"""What MCP servers have beside tools, as protobuf, and back; pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from google.protobuf.struct_pb2 import Struct
from runplane.tool_registry.v1 import resources_pb2 as pb

from services.chassis import structs
from services.chassis.errors import Violation, invalid
from services.tool_registry.domain.server import Asking, Item, Reference, Reply, Suggestions

_MAX_STATE: Final = 64 * 1024


def asking(request: pb.ReadResourceRequest | pb.GetPromptRequest) -> Asking:
    """What goes along with a request.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; it is not within bounds.
    """
    if len(request.request_state) > _MAX_STATE:
        fix = "send request_state as it came"
        raise invalid(Violation("request_state", "is too long", fix))
    capabilities = (
        structs.to_dict(request.capabilities, field="capabilities")
        if request.HasField("capabilities")
        else None
    )
    return Asking(
        responses=structs.to_dict(request.input_responses, field="input_responses"),
        state=request.request_state,
        capabilities=capabilities,
    )


def reference(request: pb.CompleteRequest) -> Reference:
    """What is completed. Raises InvalidArgument `INVALID_REQUEST` if it is nothing."""
    if request.WhichOneof("reference") is None:
        fix = "send prompt or uri_template"
        raise invalid(Violation("prompt", "is missing, and so is uri_template", fix))
    return Reference(request.prompt, request.uri_template)


def structures(items: Iterable[Item]) -> list[Struct]:
    """Items as JSON objects. What is no JSON was left out when the lists were taken."""
    return [_struct(item) for item in items]


def contents(reply: Reply) -> pb.ReadResourceResponse:
    """What a resource holds, or what the server asks."""
    packed = pb.ReadResourceResponse(
        contents=structures(_items(reply.result, "contents")), request_state=reply.state
    )
    if reply.questions is not None:
        structs.from_dict(reply.questions, packed.input_requests)
    return packed


def prompt(reply: Reply) -> pb.GetPromptResponse:
    """A prompt, or what the server asks."""
    packed = pb.GetPromptResponse(
        description=str(reply.result.get("description") or ""),
        messages=structures(_items(reply.result, "messages")),
        request_state=reply.state,
    )
    if reply.questions is not None:
        structs.from_dict(reply.questions, packed.input_requests)
    return packed


def suggestions(found: Suggestions) -> pb.CompleteResponse:
    """Values for an argument."""
    return pb.CompleteResponse(values=found.values, total=found.total, has_more=found.has_more)


def size_bytes(item: Item) -> int:
    """How much of a page an item takes, about."""
    return len(json.dumps(item, ensure_ascii=False))


def _items(result: Item, name: str) -> Sequence[Item]:
    found = result.get(name)
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _struct(item: Item) -> Struct:
    packed = Struct()
    structs.from_dict(item, packed)
    return packed
