"""What the edge can show of the contracts."""

from collections.abc import Iterator

import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pool import Default
from runplane.inference.v1 import inference_pb2, models_pb2
from runplane.orchestrator.v1 import agents_pb2, orchestrator_pb2, sessions_pb2, usage_pb2
from runplane.tool_registry.v1 import resources_pb2, servers_pb2, tool_registry_pb2

FILES = (
    inference_pb2,
    models_pb2,
    orchestrator_pb2,
    agents_pb2,
    usage_pb2,
    sessions_pb2,
    tool_registry_pb2,
    servers_pb2,
    resources_pb2,
)
METHODS: list[MethodDescriptor] = [
    method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
WIDE = {
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_SINT64,
    FieldDescriptor.TYPE_FIXED64,
    FieldDescriptor.TYPE_SFIXED64,
}


def reachable(message: Descriptor, seen: set[str]) -> Iterator[Descriptor]:
    """The message and all that it is made of; Google's own have JSON forms of their own."""
    if message.full_name in seen or message.full_name.startswith("google."):
        return
    seen.add(message.full_name)
    yield message
    for field in message.fields:
        if field.message_type is not None:
            yield from reachable(field.message_type, seen)


def named(method: MethodDescriptor) -> str:
    return f"{method.containing_service.name}.{method.name}"


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_every_rpc_has_an_http_rule_unless_another_has_taken_its_place(
    method: MethodDescriptor,
) -> None:
    rule = method.GetOptions().Extensions[annotations_pb2.http]

    assert bool(rule.WhichOneof("pattern")) != method.GetOptions().deprecated


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_no_rpc_shows_an_integer_that_json_cannot_hold(method: MethodDescriptor) -> None:
    seen: set[str] = set()
    messages = [
        *reachable(method.input_type, seen),
        *reachable(method.output_type, seen),
    ]

    wide = [field.full_name for each in messages for field in each.fields if field.type in WIDE]
    assert wide == []


def test_every_service_is_looked_at() -> None:
    pool = Default()
    looked_at = {named(method).partition(".")[0] for method in METHODS}

    assert looked_at == {
        "AgentService",
        "InferenceService",
        "McpServerService",
        "ModelService",
        "OrchestratorService",
        "ResourceService",
        "SessionService",
        "ToolRegistryService",
        "UsageService",
    }
    assert all(pool.FindFileByName(file.DESCRIPTOR.name) for file in FILES)
