"""JSON Schemas of messages, as proto3 JSON with the names of the .proto has them."""

from typing import Any, Final

from contracts import Contracts, Field
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Proto

Schema = dict[str, Any]

_SCALARS: Final[dict[int, Schema]] = {
    Proto.TYPE_BOOL: {"type": "boolean"},
    Proto.TYPE_STRING: {"type": "string"},
    Proto.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    Proto.TYPE_DOUBLE: {"type": "number"},
    Proto.TYPE_FLOAT: {"type": "number"},
    Proto.TYPE_INT32: {"type": "integer", "format": "int32"},
    Proto.TYPE_SINT32: {"type": "integer", "format": "int32"},
    Proto.TYPE_UINT32: {"type": "integer", "minimum": 0},
    Proto.TYPE_INT64: {"type": "string", "format": "int64"},
    Proto.TYPE_UINT64: {"type": "string", "format": "uint64"},
}
_WELL_KNOWN: Final[dict[str, Schema]] = {
    "google.protobuf.Any": {"type": "object", "properties": {"@type": {"type": "string"}}},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?\d+(\.\d{1,9})?s$"},
    "google.protobuf.Empty": {"type": "object"},
    "google.protobuf.FieldMask": {"type": "string"},
    "google.protobuf.ListValue": {"type": "array", "items": {}},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Value": {},
}
_OUTPUT_ONLY: Final = "Output only."


class Schemas:
    """Schemas of what is asked for, and of all that it refers to."""

    def __init__(self, contracts: Contracts) -> None:
        self._contracts = contracts
        self.components: dict[str, Schema] = {}

    def of(self, full_name: str) -> Schema:
        """A message's schema, by reference."""
        if (known := _WELL_KNOWN.get(full_name)) is not None:
            return dict(known)
        if (name := named(full_name)) not in self.components:
            self.components[name] = {}  # Messages may hold themselves.
            self.components[name] = self.whole(full_name)
        return ref(name)

    def whole(self, full_name: str, *, without: frozenset[str] = frozenset()) -> Schema:
        """A message's schema itself, without some fields."""
        message = self._contracts.messages[full_name]
        fields = [each for each in message.fields if each.name not in without]
        schema: Schema = {"type": "object"}
        if message.comment:
            schema["description"] = message.comment
        if fields:
            schema["properties"] = {each.name: self.field(each) for each in fields}
        return schema

    def field(self, field: Field) -> Schema:
        """A field's schema, with its comment."""
        schema = self._element(field)
        comment = field.comment
        if field.oneof:
            comment = f"{comment} At most one of `{field.oneof}` is set.".strip()
        if comment:
            schema["description"] = comment
        if _OUTPUT_ONLY in comment:
            schema["readOnly"] = True
        return schema

    def _element(self, field: Field) -> Schema:
        proto = field.proto
        full_name = proto.type_name.removeprefix(".")
        message = self._contracts.messages.get(full_name)
        if message is not None and message.value_of_map is not None:
            value = self._element(message.value_of_map)
            return {"type": "object", "additionalProperties": value}
        if proto.type == Proto.TYPE_ENUM:
            values = [name for name, _ in self._contracts.enums[full_name].values]
            schema: Schema = {"type": "string", "enum": values}
        elif proto.type == Proto.TYPE_MESSAGE:
            schema = self.of(full_name)
        else:
            schema = dict(_SCALARS[proto.type])
        if proto.label == Proto.LABEL_REPEATED:
            return {"type": "array", "items": schema}
        return schema


def named(full_name: str) -> str:
    """What a schema is called: two services may have messages of the same name."""
    parts = full_name.split(".")
    ours = [each for each in parts if each not in {"runplane", "google", "v1"}]
    return ".".join(ours)


def ref(name: str) -> Schema:
    """A reference to the schema that is called so."""
    return {"$ref": f"#/components/schemas/{name}"}
