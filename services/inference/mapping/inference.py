"""Between protobuf and the domain. Pure, but for the schemas it remembers."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, cast

from google.protobuf.struct_pb2 import Struct
from runplane.inference.v1 import inference_pb2 as pb
from runplane.type.v1 import content_pb2, usage_pb2

from services.chassis import structs
from services.chassis.errors import Violation, invalid
from services.chassis.schema import Schema
from services.inference.domain.constraint import MAX_CHOICES, Constraint
from services.inference.domain.generation import Complete, Metrics, Usage
from services.inference.domain.model import Model
from services.inference.domain.request import (
    JSON,
    MAX_MESSAGES,
    Message,
    Priority,
    Request,
    ResponseSchema,
    Sampling,
)
from services.inference.domain.schema_order import in_order
from services.inference.domain.tools import MAX_TOOLS, MAX_TOOLS_BYTES, Tool, ToolCall

PRIORITIES: Final = {
    "": Priority.INTERACTIVE,
    "interactive": Priority.INTERACTIVE,
    "batch": Priority.BATCH,
}

_BOUND: Final = "response_schema"
_MAX_SCHEMAS: Final = 256
_MAX_SCHEMA_BYTES: Final = 1024 * 1024  # Of source; what is made of it takes fifty times as much.


class Schemas:
    """Schemas as they come in, compiled. An agent sends the same few over and over."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[bytes, bool], ResponseSchema] = OrderedDict()
        self._bytes = 0

    def compiled(self, document: Struct, *, field: str = _BOUND) -> ResponseSchema:
        """The schema, its properties in order. `field` is where it stands, for errors.

        Raises:
            InvalidArgument: `SCHEMA_INVALID`; it is no JSON Schema, or beyond bounds.
        """
        said = document.SerializeToString(deterministic=True)
        key = said, field == _BOUND
        if (known := self._known.get(key)) is not None:
            self._known.move_to_end(key)
            return known
        self._known[key] = schema = _schema(document, field)
        self._bytes += len(said)
        while len(self._known) > _MAX_SCHEMAS or self._bytes > _MAX_SCHEMA_BYTES:
            (oldest, _), _ = self._known.popitem(last=False)
            self._bytes -= len(oldest)
        return schema


def _schema(document: Struct, field: str) -> ResponseSchema:
    received = cast("Mapping[str, JSON]", structs.to_dict(document, field=field))
    ordered = in_order(received)
    return ResponseSchema(ordered, Schema(ordered, field=field).violations)


def request(message: pb.GenerateRequest, schemas: Schemas) -> Request:
    """What a caller asks for."""
    return Request(
        model=message.model,
        messages=messages(message.messages),
        sampling=_sampling(message.sampling),
        schema=(
            schemas.compiled(message.response_schema)
            if message.HasField("response_schema")
            else None
        ),
        prefix=message.prefix,
        priority=priority(message.priority),
        constraint=Constraint(
            tuple(message.choice[: MAX_CHOICES + 1]), message.regex, message.grammar
        ),
        tools=_tools(message.tools, schemas),
        tool_choice=message.tool_choice,
    )


def _tools(sent: Sequence[pb.ToolDefinition], schemas: Schemas) -> tuple[Tool, ...]:
    """What may be called; of too many, as much as shows that they are."""
    if (size := sum(tool.ByteSize() for tool in sent)) > MAX_TOOLS_BYTES:
        fault = f"has {size} bytes; at most {MAX_TOOLS_BYTES} are taken"
        raise invalid(Violation("tools", fault, "send fewer tools, or smaller schemas"))
    shown = enumerate(sent[: MAX_TOOLS + 1])
    return tuple(_tool(tool, schemas, f"tools[{index}].input_schema") for index, tool in shown)


def _tool(sent: pb.ToolDefinition, schemas: Schemas, field: str) -> Tool:
    schema = schemas.compiled(sent.input_schema, field=field).document
    return Tool(sent.name, sent.description, schema or {"type": "object"})


def priority(name: str) -> Priority:
    """Who goes first.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; there is no such word.
    """
    if (found := PRIORITIES.get(name)) is None:
        fault = f"is {name[:32]!r}, which is no priority"
        raise invalid(Violation("priority", fault, "send interactive or batch, or leave it out"))
    return found


def messages(sent: Sequence[content_pb2.Message]) -> tuple[Message, ...]:
    """A conversation; of one that is too long, as much as shows that it is."""
    return tuple(Message(each.role, each.content) for each in sent[: MAX_MESSAGES + 1])


def _sampling(sent: usage_pb2.Sampling) -> Sampling:
    return Sampling(
        temperature=sent.temperature if sent.HasField("temperature") else None,
        top_p=sent.top_p if sent.HasField("top_p") else None,
        max_tokens=sent.max_tokens if sent.HasField("max_tokens") else None,
        stop=tuple(sent.stop),
        seed=sent.seed if sent.HasField("seed") else None,
    )


def response(generation_id: str, text: str, end: Complete, trace_id: str) -> pb.GenerateResponse:
    """A whole turn."""
    return pb.GenerateResponse(
        id=generation_id,
        status="completed",
        text=text,
        finish_reason=end.finished.reason,
        usage=usage(end.finished.usage),
        metrics=metrics(end.metrics),
        metadata=metadata(end.model, end.time, trace_id),
        tool_calls=map(_call, end.finished.tool_calls),
    )


def delta(generation_id: str, sequence: int, text: str) -> pb.StreamGenerateResponse:
    """A piece of a turn."""
    return pb.StreamGenerateResponse(type="delta", sequence=sequence, id=generation_id, text=text)


def complete(
    generation_id: str, sequence: int, end: Complete, trace_id: str
) -> pb.StreamGenerateResponse:
    """The end of a turn."""
    return pb.StreamGenerateResponse(
        type="complete",
        sequence=sequence,
        id=generation_id,
        text=end.finished.text or None,
        finish_reason=end.finished.reason,
        usage=usage(end.finished.usage),
        metrics=metrics(end.metrics),
        metadata=metadata(end.model, end.time, trace_id),
        tool_calls=map(_call, end.finished.tool_calls),
    )


def _call(call: ToolCall) -> pb.ToolCall:
    made = pb.ToolCall(id=call.id, name=call.name)
    structs.from_dict(call.input, made.input, field="tool_calls.input")
    return made


def usage(used: Usage) -> usage_pb2.Usage:
    """Tokens used."""
    return usage_pb2.Usage(
        prompt_tokens=used.prompt_tokens,
        completion_tokens=used.completion_tokens,
        cached_tokens=used.cached_tokens,
        total_tokens=used.prompt_tokens + used.completion_tokens,
    )


def metrics(found: Metrics) -> pb.GenerationMetrics:
    """How fast a generation was."""
    return pb.GenerationMetrics(
        latency_ms=round(found.latency_ms, 3),
        time_to_first_token_ms=round(found.time_to_first_token_ms, 3),
        queue_ms=round(found.queue_ms, 3),
        tokens_per_second=round(found.tokens_per_second, 3),
    )


def metadata(model: Model, time: datetime, trace_id: str) -> pb.GenerationMetadata:
    """What produced it, and when."""
    told = pb.GenerationMetadata(model=model.name, model_version=model.version, trace_id=trace_id)
    structs.set_time(told.timestamp, time)
    return told
