"""The forms that values of a message take in JSON (the proto3 JSON mapping). Tables only.

What is sent may have any form that is read; what comes back has the one that is written. A form
with a name stands once, under `$defs`: patterns cost with every place where they stand. They are
short for the same reason: the message itself refuses 64-bit numbers beyond their range, and dates
that there are not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor

Schema: TypeAlias = dict[str, object]

_MAX_FLOAT: Final = 3.4028234663852886e38
_SAFE: Final = 2**53
_DIGITS: Final = 20
_TIME_CHARACTERS: Final = 35


@dataclass(frozen=True, slots=True)
class Form:
    """A schema; with a name it stands under `$defs`."""

    schema: Schema
    name: str = ""


@dataclass(frozen=True, slots=True)
class Forms:
    """What the values of fields look like."""

    scalars: Mapping[int, Form]
    """By the field's type."""
    keys: Mapping[int, Form]
    """Names of members that are a map's keys, by the key's type."""
    known: Mapping[str, Form]
    """Messages with a form of their own, by full name."""
    is_input: bool


def _each(*pairs: tuple[tuple[int, ...], Form]) -> dict[int, Form]:
    return {kind: form for kinds, form in pairs for kind in kinds}


_F: Final = FieldDescriptor
_INT32: Final = (_F.TYPE_INT32, _F.TYPE_SINT32, _F.TYPE_SFIXED32)
_UINT32: Final = (_F.TYPE_UINT32, _F.TYPE_FIXED32)
_INT64: Final = (_F.TYPE_INT64, _F.TYPE_SINT64, _F.TYPE_SFIXED64)
_UINT64: Final = (_F.TYPE_UINT64, _F.TYPE_FIXED64)
_WRAPPED: Final = {
    "BoolValue": _F.TYPE_BOOL,
    "BytesValue": _F.TYPE_BYTES,
    "DoubleValue": _F.TYPE_DOUBLE,
    "FloatValue": _F.TYPE_FLOAT,
    "Int32Value": _F.TYPE_INT32,
    "Int64Value": _F.TYPE_INT64,
    "StringValue": _F.TYPE_STRING,
    "UInt32Value": _F.TYPE_UINT32,
    "UInt64Value": _F.TYPE_UINT64,
}

_TEXT: Final = Form({"type": "string"})
_INTEGER: Final = Form({"type": "integer"})
_SIGNED_TEXT: Final = {"pattern": "^-?[0-9]+$", "maxLength": _DIGITS}
_UNSIGNED_TEXT: Final = {"pattern": "^[0-9]+$", "maxLength": _DIGITS}
_ENDLESS: Final = Form(
    {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}, "double"
)

_SENT: Final = _each(
    (_INT32, Form({"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1})),
    (_UINT32, Form({"type": "integer", "minimum": 0, "maximum": 2**32 - 1})),
    (
        _INT64,
        Form(
            {
                "description": "An integer; as text beyond 2^53.",
                "type": ["integer", "string"],
                "minimum": -_SAFE,
                "maximum": _SAFE,
                **_SIGNED_TEXT,
            },
            "int64",
        ),
    ),
    (
        _UINT64,
        Form(
            {
                "description": "An integer of at least 0; as text beyond 2^53.",
                "type": ["integer", "string"],
                "minimum": 0,
                "maximum": _SAFE,
                **_UNSIGNED_TEXT,
            },
            "uint64",
        ),
    ),
    (
        (_F.TYPE_FLOAT,),
        Form({"type": "number", "minimum": -_MAX_FLOAT, "maximum": _MAX_FLOAT}),
    ),
    ((_F.TYPE_DOUBLE,), Form({"type": "number"})),
    ((_F.TYPE_BOOL,), Form({"type": "boolean"})),
    ((_F.TYPE_STRING,), _TEXT),
    (
        (_F.TYPE_BYTES,),
        Form(
            {
                "description": "Bytes in base64.",
                "type": "string",
                "contentEncoding": "base64",
                "pattern": "^[A-Za-z0-9+/_-]*=?=?$",
            },
            "bytes",
        ),
    ),
)

_ANSWERED: Final = _each(
    ((*_INT32, *_UINT32), _INTEGER),
    ((*_INT64, *_UINT64), Form({"type": "string", "description": "An integer, as text."})),
    ((_F.TYPE_FLOAT, _F.TYPE_DOUBLE), _ENDLESS),
    ((_F.TYPE_BOOL,), Form({"type": "boolean"})),
    ((_F.TYPE_STRING,), _TEXT),
    ((_F.TYPE_BYTES,), Form({"type": "string", "contentEncoding": "base64"})),
)

_KEYS: Final = _each(
    ((*_INT32, *_INT64), Form({"type": "string", **_SIGNED_TEXT}, "key_integer")),
    ((*_UINT32, *_UINT64), Form({"type": "string", **_UNSIGNED_TEXT}, "key_unsigned")),
    ((_F.TYPE_BOOL,), Form({"enum": ["true", "false"]})),
)

_ANY: Final = Form(
    {
        "description": "A message of a type that is named: `@type`, and its fields beside it.",
        "type": "object",
        "properties": {
            "@type": {"type": "string", "description": "Such as type.googleapis.com/a.v1.Name."}
        },
        "required": ["@type"],
    },
    "google.protobuf.Any",
)
_COMMON: Final = {
    "Any": _ANY,
    "Struct": Form({"type": "object"}),
    "Value": Form({}),
    "ListValue": Form({"type": "array"}),
    "Empty": Form({"type": "object", "additionalProperties": False}),
}
_TIMES_SENT: Final = {
    "Timestamp": Form(
        {
            "description": "A time, such as 2026-04-20T05:00:00Z.",
            "type": "string",
            "format": "date-time",
            "pattern": "^[0-9TZ:.+-]+$",
            "maxLength": _TIME_CHARACTERS,
        },
        "timestamp",
    ),
    "Duration": Form(
        {
            "description": "Seconds, such as 1.5s.",
            "type": "string",
            "pattern": r"^-?[0-9]+(\.[0-9]+)?s$",
            "maxLength": 24,
        },
        "duration",
    ),
    "FieldMask": Form(
        {
            "description": "Paths of fields in lowerCamelCase with commas, such as user.name,id.",
            "type": "string",
            "pattern": "^[^_]*$",
        },
        "field_mask",
    ),
}
_TIMES_ANSWERED: Final = {
    "Timestamp": Form({"type": "string", "format": "date-time"}),
    "Duration": Form({"type": "string", "description": "Seconds, such as 1.5s."}),
    "FieldMask": Form({"type": "string"}),
    "Any": Form({"type": "object"}),
}


def _known(scalars: Mapping[int, Form], times: Mapping[str, Form]) -> dict[str, Form]:
    wrappers = {name: scalars[kind] for name, kind in _WRAPPED.items()}
    return {
        f"google.protobuf.{name}": form for name, form in {**_COMMON, **wrappers, **times}.items()
    }


INPUT: Final = Forms(_SENT, _KEYS, _known(_SENT, _TIMES_SENT), is_input=True)
OUTPUT: Final = Forms(_ANSWERED, {}, _known(_ANSWERED, _TIMES_ANSWERED), is_input=False)

_OBJECTS: Final = frozenset({"Any", "Struct", "Empty"})


def is_object(message: Descriptor) -> bool:
    """Whether a message of this type is an object in JSON."""
    name = str(message.full_name)
    return name not in INPUT.known or name.removeprefix("google.protobuf.") in _OBJECTS
