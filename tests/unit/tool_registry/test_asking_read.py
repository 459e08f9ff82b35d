"""What goes along with requests that may be answered with questions: the same bounds anywhere."""

import pytest
from runplane.tool_registry.v1 import resources_pb2
from runplane.tool_registry.v1 import tool_registry_pb2 as pb

from services.chassis.errors import InvalidArgument
from services.tool_registry.mapping.asking import Request, asking

KINDS = [pb.CallToolRequest, resources_pb2.ReadResourceRequest, resources_pb2.GetPromptRequest]


def filled(kind: type[Request], field: str, size: int) -> Request:
    """A request with so much in a field."""
    request = kind()
    if field == "request_state":
        request.request_state = "é" * (size // 2)
    else:
        getattr(request, field)["x"] = "y" * size
    return request


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("field", "size"),
    [("request_state", 70_000), ("input_responses", 1_100_000), ("capabilities", 17_000)],
)
def test_what_is_too_large_is_refused(kind: type[Request], field: str, size: int) -> None:
    with pytest.raises(InvalidArgument) as caught:
        asking(filled(kind, field, size))

    assert [each.field for each in caught.value.violations] == [field]


@pytest.mark.parametrize("kind", KINDS)
def test_no_capabilities_are_told_from_empty_ones(kind: type[Request]) -> None:
    request = kind(request_state="s")

    bare = asking(request)
    request.capabilities.SetInParent()

    assert (bare.state, bare.responses, bare.capabilities) == ("s", {}, None)
    assert asking(request).capabilities == {}
