"""What MCP servers have beside tools, as protobuf, and back; pure."""

from collections.abc import Iterable, Mapping, Sequence

from google.protobuf.struct_pb2 import Struct
from runplane.tool_registry.v1 import resources_pb2 as pb

from services.chassis import structs
from services.chassis.errors import Violation, invalid
from services.tool_registry.domain.server import Item, Reference, Reply, Suggestions


def reference(request: pb.CompleteRequest) -> Reference:
    """What is completed. Raises InvalidArgument `INVALID_REQUEST` if it is nothing."""
    if request.WhichOneof("reference") is None:
        fix = "send prompt or uri_template"
        raise invalid(Violation("prompt", "is missing, and so is uri_template", fix))
    return Reference(request.prompt, request.uri_template)


def packed(item: Item) -> bytes:
    """An item as a JSON object, serialized."""
    return _struct(item).SerializeToString()


def structures(items: Iterable[Item]) -> list[Struct]:
    """Items as JSON objects. What is no JSON was left out when the lists were taken."""
    return [_struct(item) for item in items]


def contents(reply: Reply) -> pb.ReadResourceResponse:
    """What a resource holds, or what the server asks."""
    shown = pb.ReadResourceResponse(
        contents=structures(_items(reply.result, "contents")), request_state=reply.state
    )
    if reply.questions is not None:
        structs.from_dict(reply.questions, shown.input_requests)
    return shown


def prompt(reply: Reply) -> pb.GetPromptResponse:
    """A prompt, or what the server asks."""
    shown = pb.GetPromptResponse(
        description=str(reply.result.get("description") or ""),
        messages=structures(_items(reply.result, "messages")),
        request_state=reply.state,
    )
    if reply.questions is not None:
        structs.from_dict(reply.questions, shown.input_requests)
    return shown


def suggestions(found: Suggestions) -> pb.CompleteResponse:
    """Values for an argument."""
    return pb.CompleteResponse(values=found.values, total=found.total, has_more=found.has_more)


def _items(result: Item, name: str) -> Sequence[Item]:
    found = result.get(name)
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _struct(item: Item) -> Struct:
    packed = Struct()
    structs.from_dict(item, packed)
    return packed
