"""What goes along with a request that may be answered with questions, as protobuf; pure."""

from typing import Final

from google.protobuf.struct_pb2 import Struct
from runplane.tool_registry.v1 import resources_pb2
from runplane.tool_registry.v1 import tool_registry_pb2 as pb

from services.chassis import structs
from services.chassis.asking import MAX_REQUEST_BYTES
from services.chassis.errors import Violation, invalid
from services.tool_registry.domain.server import Asking

_MAX_BYTES: Final = {"input_responses": 1024 * 1024, "capabilities": 16 * 1024}
_LESS: Final = "send less"

Request = pb.CallToolRequest | resources_pb2.ReadResourceRequest | resources_pb2.GetPromptRequest


def asking(request: Request) -> Asking:
    """What goes along with a request.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; it is not within bounds.
    """
    has_capabilities = request.HasField("capabilities")
    return Asking(
        responses=_object(request.input_responses, "input_responses"),
        state=_state(request.request_state),
        capabilities=_object(request.capabilities, "capabilities") if has_capabilities else None,
    )


def _object(given: Struct, field: str) -> dict[str, object]:
    most = _MAX_BYTES[field]
    if (size := given.ByteSize()) > most:
        raise invalid(Violation(field, f"has {size:,} bytes; at most {most:,} are taken", _LESS))
    return structs.to_dict(given, field=field)


def _state(state: str) -> str:
    if len(state) > MAX_REQUEST_BYTES or len(state.encode()) > MAX_REQUEST_BYTES:
        message = f"has more than {MAX_REQUEST_BYTES:,} bytes"
        raise invalid(Violation("request_state", message, "send it back as it was given"))
    return state
