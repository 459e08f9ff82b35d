"""The JSON Schema of a message, in the proto3 JSON mapping with the names of the `.proto`; pure.

A message that is used once stands where it is used; one that is used more often, or holds itself,
stands under `$defs`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.struct_pb2 import NULL_VALUE, NullValue

from services.chassis.errors import Violation, invalid
from services.chassis.schema import MAX_BYTES
from services.tool_registry.adapters.grpc.forms import INPUT, OUTPUT, Form, Forms, Schema, is_object
from services.tool_registry.domain.texts import cut

VALUE: Final = "value"
"""The member of the input that is the whole message, where a message is no object in JSON."""

_MAX_COMMENT: Final = 300
_INLINE_LEVELS: Final = 4
_NULL: Final = "google.protobuf.NullValue"
# Fields of google.protobuf.DescriptorProto and FileDescriptorProto, as source paths name them.
_MESSAGES, _NESTED, _FIELDS = 4, 3, 2


def input_schema(message: Descriptor, comments: Mapping[str, str]) -> Schema:
    """What a caller sends: an object.

    Raises:
        InvalidArgument: `SCHEMA_INVALID`; it would have more than `MAX_BYTES`.
    """
    document = _Writer(INPUT, message, comments).document()
    if is_object(message):
        return document
    return {
        "type": "object",
        "properties": {VALUE: document},
        "required": [VALUE],
        "additionalProperties": False,
    }


def output_schema(message: Descriptor, comments: Mapping[str, str]) -> Schema:
    """What a call returns. Raises as `input_schema`."""
    return _Writer(OUTPUT, message, comments).document()


def comments_of(files: Iterable[FileDescriptorProto]) -> dict[str, str]:
    """What is said of messages and fields where they are declared, by full name."""
    found: dict[str, str] = {}
    for file in files:
        for location in file.source_code_info.location:
            said = location.leading_comments or location.trailing_comments
            name = _named(file, tuple(location.path)) if said else None
            if name is not None:
                found[name] = cut(" ".join(said.split()), _MAX_COMMENT)
    return found


def _named(file: FileDescriptorProto, path: tuple[int, ...]) -> str | None:
    """The full name of a message or a field at this source path; None of anything else."""
    if len(path) < 2 or len(path) % 2 or path[0] != _MESSAGES:
        return None
    try:
        part = file.message_type[path[1]]
        name = f"{file.package}.{part.name}" if file.package else part.name
        for kind, index in zip(path[2::2], path[3::2], strict=True):
            if kind == _FIELDS:
                return f"{name}.{part.field[index].name}"
            if kind != _NESTED:
                return None
            part = part.nested_type[index]
            name = f"{name}.{part.name}"
    except IndexError:  # Nobody checks what source info says.
        return None
    return name


class _Writer:
    """Writes one document."""

    def __init__(self, forms: Forms, root: Descriptor, comments: Mapping[str, str]) -> None:
        self._forms = forms
        self._root = root
        self._comments = comments
        self._uses = _uses(root, forms)
        self._definitions: dict[str, Schema] = {}
        self._waiting: list[Descriptor] = []
        self._left = MAX_BYTES

    def document(self) -> Schema:
        """The whole schema."""
        if (form := self._forms.known.get(self._root.full_name)) is not None:
            return {**form.schema}
        document = self._object(self._root, 0)
        while self._waiting:
            message = self._waiting.pop()
            self._definitions[message.full_name] = self._object(message, 0)
        return {**document, "$defs": self._definitions} if self._definitions else document

    def _object(self, message: Descriptor, level: int) -> Schema:
        fields = list(message.fields)
        self._spend(message)
        schema: Schema = {
            "type": "object",
            "properties": {field.name: self._field(field, level) for field in fields},
        }
        if said := self._comments.get(message.full_name):
            schema = {"description": said, **schema}
        if required := [field.name for field in fields if self._is_there(field)]:
            schema["required"] = required
        if self._forms.is_input:
            schema["additionalProperties"] = False
            if excluded := _exclusions(message):
                schema["dependentSchemas"] = excluded
        return schema

    def _spend(self, message: Descriptor) -> None:
        """Stop before more is written than a schema may have: a oneof's exclusions grow as the
        square of its fields."""
        self._left -= sum(len(field.name) + len('"": {}, ') for field in message.fields)
        for oneof in message.oneofs if self._forms.is_input else ():
            for index, field in enumerate(oneof.fields):
                self._left -= index * (len(field.name) + len('"": false, '))
        if self._left < 0:
            fix = "send a schema of your own"
            fault = Violation("schema", f"has more than {MAX_BYTES:,} bytes", fix)
            raise invalid(fault, reason="SCHEMA_INVALID")

    def _is_there(self, field: FieldDescriptor) -> bool:
        """Whether it has to be sent, or always comes back."""
        return bool(field.is_required) or not (self._forms.is_input or field.has_presence)

    def _field(self, field: FieldDescriptor, level: int) -> Schema:
        schema = self._value(field, level)
        said = self._comments.get(field.full_name, "")
        if self._forms.is_input and len(others := _siblings(field)) > 1:
            said = f"{said} Only one of {cut(', '.join(others), _MAX_COMMENT)}.".strip()
        return {**schema, "description": said} if said else schema

    def _value(self, field: FieldDescriptor, level: int) -> Schema:
        if not field.is_repeated:
            return self._single(field, level)
        if field.message_type is None or not field.message_type.GetOptions().map_entry:
            return {"type": "array", "items": self._single(field, level + 1, is_item=True)}
        key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        schema: Schema = {
            "type": "object",
            "additionalProperties": self._single(value, level + 1, is_item=True),
        }
        if (form := self._forms.keys.get(key.type)) is not None:
            schema["propertyNames"] = self._placed(form)
        return schema

    def _single(self, field: FieldDescriptor, level: int, *, is_item: bool = False) -> Schema:
        if field.enum_type is not None:
            return self._enum(field.enum_type, is_item=is_item)
        if field.message_type is None:
            return self._placed(self._forms.scalars[field.type])
        if (form := self._forms.known.get(field.message_type.full_name)) is not None:
            return self._placed(form)
        return self._message(field.message_type, level)

    def _message(self, message: Descriptor, level: int) -> Schema:
        name = str(message.full_name)
        if name == self._root.full_name:
            return {"$ref": "#"}
        if self._uses[name] == 1 and level < _INLINE_LEVELS and name not in self._definitions:
            return self._object(message, level + 1)
        if name not in self._definitions:
            self._definitions[name] = {}
            self._waiting.append(message)
        return _reference(name)

    def _enum(self, enum: EnumDescriptor, *, is_item: bool) -> Schema:
        if enum.full_name == _NULL:
            is_text = self._forms.is_input and is_item  # Null is no item.
            return {"const": NullValue.Name(NULL_VALUE)} if is_text else {"type": "null"}
        names: Schema = {"enum": [value.name for value in enum.values]}
        if not self._forms.is_input:  # A newer server may have more values; they are numbers.
            names = {"anyOf": [names, {"type": "integer"}]}
        return self._placed(Form(names, enum.full_name if self._uses[enum.full_name] > 1 else ""))

    def _placed(self, form: Form) -> Schema:
        if not form.name:
            return {**form.schema}
        self._definitions.setdefault(form.name, form.schema)
        return _reference(form.name)


def _reference(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _siblings(field: FieldDescriptor) -> list[str]:
    oneof = field.containing_oneof
    return [] if oneof is None else [each.name for each in islice(oneof.fields, _MAX_COMMENT)]


def _exclusions(message: Descriptor) -> Schema:
    """That of each oneof only one field may be there, in a form that says which is too many."""
    return {
        field.name: {"properties": dict.fromkeys((each.name for each in later), False)}
        for oneof in message.oneofs
        for index, field in enumerate(oneof.fields)
        if (later := oneof.fields[index + 1 :])
    }


def _uses(root: Descriptor, forms: Forms) -> Counter[str]:
    """How many fields below the root have each message or enum as their type."""
    uses: Counter[str] = Counter()
    waiting, seen = [root], {root.full_name}
    while waiting:
        for field in waiting.pop().fields:
            if field.enum_type is not None:
                uses[field.enum_type.full_name] += 1
            inner = field.message_type
            if inner is None or inner.full_name in forms.known:
                continue
            uses[inner.full_name] += 1
            if inner.full_name not in seen:
                seen.add(inner.full_name)
                waiting.append(inner)
    return uses
