"""What a gRPC tool keeps: the descriptors of its method, and schemas made from them; pure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, cast

from google.protobuf.descriptor import Descriptor

from services.chassis.errors import InvalidArgument, Violation, invalid
from services.chassis.schema import Schema
from services.tool_registry.adapters.grpc import schema as schemas
from services.tool_registry.adapters.grpc.methods import Files, found, needed, serialized
from services.tool_registry.adapters.grpc.pruning import pruned
from services.tool_registry.domain import grpc_target as targets
from services.tool_registry.domain.targets import Grpc
from services.tool_registry.domain.tool import Entry

MAX_KEPT_BYTES: Final = 512 * 1024

_SHOWN: Final = 300


def completed(entry: Entry, files: Files) -> Entry:
    """The entry with what these files say of its method.

    Raises:
        InvalidArgument: `INVALID_REQUEST`, with the field.
    """
    target = cast("Grpc", entry.target)
    field = targets.DESCRIPTORS if target.descriptor_set else targets.ADDRESS
    service, _ = targets.service_and_method(target.method)
    order = needed(files, service, field=field)
    method = found(order, target.method, field=field)
    kept, comments = serialized(pruned(order, method)), schemas.comments_of(order)
    if len(kept) > MAX_KEPT_BYTES:
        problem = f"needs {len(kept):,} bytes of descriptors; at most {MAX_KEPT_BYTES:,} are kept"
        raise invalid(Violation(targets.METHOD, problem, "wrap it in a method with less"))
    definition = entry.definition
    if not definition.input_schema.document:
        definition = replace(definition, input_schema=_input_schema(method.request, comments))
    if not definition.output_schema.document:
        definition = replace(definition, output_schema=_output_schema(method.response, comments))
    return replace(entry, definition=definition, target=replace(target, descriptor_set=kept))


def _input_schema(message: Descriptor, comments: Mapping[str, str]) -> Schema:
    """Without comments if it is too large with them."""
    try:
        return Schema(schemas.input_schema(message, comments), field="input")
    except InvalidArgument as error:
        if comments:
            return _input_schema(message, {})
        told = error.message.partition(": ")[2]
        problem = f"takes a {message.full_name}, whose schema {told}"[:_SHOWN]
        fix = "send an input_schema of your own, with what callers need"
        raise invalid(Violation(targets.METHOD, problem, fix)) from None


def _output_schema(message: Descriptor, comments: Mapping[str, str]) -> Schema:
    """Any JSON where a message has no schema within bounds: its descriptor checks the answer."""
    for said in (comments, {}):
        try:
            return Schema(schemas.output_schema(message, said), field="output")
        except InvalidArgument:
            continue
    return Schema({}, field="output")
