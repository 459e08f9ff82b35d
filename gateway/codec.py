"""The edge's messages: JSON to protobuf bytes and back, and what the contracts say of HTTP.

The only module that imports protobuf-py and `gateway.pb`. The codec is quick because it is native,
and for the same reason JSON that is nested without end overflows its stack and takes the process
along: `nesting.py` must have looked at a text before it comes here.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from json import JSONDecodeError
from typing import Any, Final

from protobuf import (
    DescEnum,
    DescField,
    DescFieldValueEnum,
    DescFieldValueList,
    DescFieldValueMap,
    DescFieldValueMessage,
    DescMessage,
    DescMethod,
    Message,
    Registry,
    ScalarType,
    merge_from_json,
)

from gateway.pb.google.api.annotations_pb import ext_http
from gateway.pb.google.api.http_pb import HttpRule
from gateway.pb.google.longrunning import operations_pb
from gateway.pb.google.rpc import error_details_pb
from gateway.pb.runplane.inference.v1 import batches_pb, inference_pb, models_pb
from gateway.pb.runplane.orchestrator.v1 import (
    agents_pb,
    orchestrator_pb,
    sessions_pb,
    usage_pb,
)
from gateway.pb.runplane.tool_registry.v1 import resources_pb, servers_pb, tool_registry_pb
from gateway.pb.runplane.workflow.v1 import definitions_pb, workflow_pb
from gateway.shapes import FREE, Field, Kind, Shape

# The services behind the edge, by the name that settings and people use, and their files.
CONTRACTS: Final = {
    "inference": (
        inference_pb.desc(),
        models_pb.desc(),
        batches_pb.desc(),
        operations_pb.desc(),
    ),
    "orchestrator": (
        orchestrator_pb.desc(),
        agents_pb.desc(),
        sessions_pb.desc(),
        usage_pb.desc(),
    ),
    "tool_registry": (tool_registry_pb.desc(), servers_pb.desc(), resources_pb.desc()),
    "workflow": (definitions_pb.desc(), workflow_pb.desc()),
}
# What an Any may hold: the messages of the contracts, and the details of errors.
_REGISTRY: Final = Registry(*chain.from_iterable(CONTRACTS.values()), error_details_pb.desc())

_SCALARS: Final = {
    ScalarType.BOOL: Kind.BOOL,
    ScalarType.INT32: Kind.INT32,
    ScalarType.SINT32: Kind.INT32,
    ScalarType.SFIXED32: Kind.INT32,
    ScalarType.UINT32: Kind.UINT32,
    ScalarType.FIXED32: Kind.UINT32,
    ScalarType.INT64: Kind.INT64,
    ScalarType.SINT64: Kind.INT64,
    ScalarType.SFIXED64: Kind.INT64,
    ScalarType.UINT64: Kind.UINT64,
    ScalarType.FIXED64: Kind.UINT64,
    ScalarType.FLOAT: Kind.NUMBER,
    ScalarType.DOUBLE: Kind.NUMBER,
    ScalarType.STRING: Kind.STRING,
    ScalarType.BYTES: Kind.BYTES,
}
_WELL_KNOWN: Final = {
    "google.protobuf.Struct": Kind.FREE_OBJECT,
    "google.protobuf.ListValue": Kind.FREE_LIST,
    "google.protobuf.Value": Kind.FREE,
    "google.protobuf.Timestamp": Kind.TIME,
    "google.protobuf.Duration": Kind.DURATION,
}
# A string, which is kept; or a fraction of nothing, which is dropped.
_FRACTION: Final = re.compile(r'("(?:[^"\\]++|\\.)*+")|\.0(?=[,}\]])')


class SyntaxRefused(Exception):
    """It is not JSON."""

    def __init__(self, fault: str, *, line: int, column: int, position: int) -> None:
        super().__init__(fault)
        self.fault = fault
        self.line = line
        self.column = column
        self.position = position


class NestingRefused(Exception):
    """It is nested deeper than messages may be."""


class ContentRefused(Exception):
    """It is JSON, but not this message."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One google.api.http rule: `body` is empty, `*` or a field's name."""

    verb: str
    template: str
    body: str = ""


class RequestCodec:
    """Requests of one type."""

    def __init__(self, message: DescMessage) -> None:
        self._type: Callable[[], Message] = message.type
        self.shape = _shape_of(message)
        # The one choice that a message may be as a whole, as a conversation's messages are.
        self._choice = message.oneofs[0].local_name if len(message.oneofs) == 1 else ""
        timeout = self.shape.fields.get("timeout_ms")
        self._has_timeout = timeout is not None and timeout.kind is Kind.NUMBER

    def new(self) -> Message:
        """An empty request."""
        return self._type()

    def merge(self, message: Message, text: bytes) -> None:
        """Set what a JSON text says, over what is set already.

        Raises:
            SyntaxRefused, NestingRefused, ContentRefused: it says nothing that fits.
        """
        try:
            merge_from_json(message, text)
        except JSONDecodeError as error:
            raise SyntaxRefused(
                error.msg, line=error.lineno, column=error.colno, position=error.pos
            ) from None
        except RecursionError:
            raise NestingRefused from None
        except (TypeError, ValueError, OverflowError) as error:
            raise ContentRefused(str(error)) from None

    def choice(self, message: Message) -> str:
        """The field that says which of several things the message is; empty when none does."""
        chosen = getattr(message, self._choice) if self._choice else None
        return chosen.field if chosen is not None else ""

    def timeout_ms(self, message: Message) -> float:
        """How long the request says that it may take; 0 when it does not say."""
        return (getattr(message, "timeout_ms", None) or 0.0) if self._has_timeout else 0.0


class ReplyCodec:
    """Replies of one type."""

    def __init__(self, message: DescMessage) -> None:
        self._parse = message.type().from_binary
        shape = _shape_of(message)
        self._is_event = "type" in shape.fields
        self._has_sequence = self._is_event and "sequence" in shape.fields
        self._holds_free = shape.holds_free

    def whole(self, raw: bytes) -> bytes:
        """The JSON of an answer: fields without presence are there even when empty."""
        reply = self._parse(raw)
        text = reply.to_json(
            registry=_REGISTRY, use_proto_field_name=True, always_emit_implicit=True
        )
        return (_integral(text) if self._holds_free else text).encode()

    def loaded(self, raw: bytes) -> dict[str, Any]:
        """What `whole` says, for those who look into it."""
        text = self._parse(raw).to_json(
            registry=_REGISTRY, use_proto_field_name=True, always_emit_implicit=True
        )
        found: dict[str, Any] = _loaded(text)
        return found

    def piece(self, raw: bytes) -> tuple[str, int | None, str]:
        """A stream's message: type, sequence if it has one, and JSON of only what is there."""
        message = self._parse(raw)
        text = message.to_json(registry=_REGISTRY, use_proto_field_name=True)
        if self._holds_free:
            text = _integral(text)
        if not self._is_event:
            return "", None, text
        sequence = message.sequence if self._has_sequence else None  # type: ignore[attr-defined]
        return message.type, sequence, text  # type: ignore[attr-defined]


def _number(digits: str) -> int | float:
    """A number with a fraction, which the codec gives to integers, too."""
    return int(digits[:-2]) if digits.endswith(".0") else float(digits)


_loaded: Final = json.JSONDecoder(parse_float=_number).decode


def _integral(text: str) -> str:
    """JSON with `84` where the codec writes `84.0`: an integer comes back as it was sent."""
    if ".0," in text or ".0}" in text or ".0]" in text:
        return _FRACTION.sub(_kept, text)
    return text


def _kept(found: re.Match[str]) -> str:
    """A string as it is, and nothing of a fraction. A function, as templates are read each time."""
    return found[1] or ""


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC that HTTP can reach."""

    service: str
    """The name in `CONTRACTS`."""
    path: str
    """What gRPC calls it, such as `/runplane.inference.v1.InferenceService/Generate`."""
    is_stream: bool
    is_bidi: bool
    """Whether requests stream as well."""
    rules: tuple[Rule, ...]
    request: RequestCodec
    reply: ReplyCodec


def methods() -> Iterator[Method]:
    """Every RPC of the contracts that has an HTTP rule."""
    for service, files in CONTRACTS.items():
        for each in chain.from_iterable(file.services for file in files):
            for rpc in each.methods:
                if rules := tuple(_rules(rpc)):
                    yield _method(service, rpc, rules)


def _method(service: str, rpc: DescMethod, rules: tuple[Rule, ...]) -> Method:
    path = f"/{rpc.parent.type_name}/{rpc.name}"
    kind = rpc.method_kind
    if kind == "client_streaming":
        raise ValueError(f"{path} streams its requests alone, which HTTP rules cannot express")
    return Method(
        service=service,
        path=path,
        is_stream=kind != "unary",
        is_bidi=kind == "bidi_streaming",
        rules=rules,
        request=RequestCodec(rpc.input),
        reply=ReplyCodec(rpc.output),
    )


def _rules(rpc: DescMethod) -> Iterator[Rule]:
    options = rpc.proto.options
    if options is None or ext_http not in options:
        return
    main = options[ext_http]
    for each in (main, *main.additional_bindings):
        yield _rule(each, rpc)


def _rule(rule: HttpRule, rpc: DescMethod) -> Rule:
    if rule.pattern is None or rule.response_body:
        raise ValueError(f"{rpc}: its HTTP rule has no pattern, or a response_body")
    if rule.pattern.field == "custom":
        return Rule(rule.pattern.value.kind, rule.pattern.value.path, rule.body)
    return Rule(rule.pattern.field.upper(), rule.pattern.value, rule.body)


def _shape_of(message: DescMessage) -> Shape:
    seen: dict[str, Shape] = {}
    shape = _shape(message, seen)
    spelt = [each for known in seen.values() for each in known.fields.items()]
    shape.holds_free = any(field.kind in FREE for _, field in spelt)
    shape.spellings = frozenset(name for name, field in spelt if name != field.name)
    return shape


def _shape(message: DescMessage, seen: dict[str, Shape]) -> Shape:
    if (known := seen.get(message.type_name)) is not None:
        return known
    seen[message.type_name] = shape = Shape(message.type_name)
    for each in message.fields:
        described = _field(each, seen)
        shape.fields[each.name] = shape.fields[each.json_name] = described
    shape.choices = tuple(tuple(each.name for each in one.fields) for one in message.oneofs)
    return shape


def _field(field: DescField, seen: dict[str, Shape]) -> Field:
    match field.value:
        case DescFieldValueList(element=element):
            return _element(field.name, element, seen, is_repeated=True)
        case DescFieldValueMap(value=element):
            return _element(field.name, element, seen, is_map=True)
        case DescFieldValueMessage(message=message):
            return _element(field.name, message, seen)
        case DescFieldValueEnum(enum=enum):
            return _element(field.name, enum, seen)
        case other:
            return _element(field.name, other.scalar, seen)


def _element(
    name: str,
    element: ScalarType | DescMessage | DescEnum,
    seen: dict[str, Shape],
    *,
    is_repeated: bool = False,
    is_map: bool = False,
) -> Field:
    kind, message = Kind.OTHER, None
    names: tuple[str, ...] = ()
    if isinstance(element, DescEnum):
        kind, names = Kind.ENUM, tuple(value.name for value in element.values)
    elif isinstance(element, ScalarType):
        kind = _SCALARS[element]
    elif element.type_name.startswith("google.protobuf."):
        kind = _WELL_KNOWN.get(element.type_name, Kind.OTHER)
    else:
        kind, message = Kind.MESSAGE, _shape(element, seen)
    return Field(name, kind, is_repeated, is_map, message, names)
