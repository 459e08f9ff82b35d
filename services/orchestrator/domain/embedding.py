"""A JSON Schema inside another one. Pure.

`#` in a reference is the root of the whole document, and an anchor is known in all of it: a schema
that refers to its own parts has to be told where it has gone.
"""

from collections.abc import Mapping
from typing import Final

Schema = Mapping[str, object]

# What stands in these is data, whatever it looks like.
_DATA: Final = frozenset({"const", "enum", "default", "examples"})
# What stands in these are schemas by name, whatever the names look like.
_NAMED: Final = frozenset(
    {"$defs", "definitions", "properties", "patternProperties", "dependentSchemas"}
)
_REFERENCES: Final = frozenset({"$ref", "$dynamicRef"})
_ANCHORS: Final = frozenset({"$anchor", "$dynamicAnchor"})
# What these say is of a whole document. Nothing outside of it can refer to it.
_OF_DOCUMENTS: Final = frozenset({"$id", "$schema"})


def embedded(schema: Schema, name: str, definitions: dict[str, object]) -> Schema:
    """The schema as part of a document with these `$defs`, to which it may be added as `name`."""
    part = {key: each for key, each in schema.items() if key not in _OF_DOCUMENTS}
    moved = _moved(part, name)
    if moved == part:
        return part
    definitions[name] = moved
    return {"$ref": f"#/$defs/{name}"}


def _moved(part: object, name: str) -> object:
    if isinstance(part, Mapping):
        return {key: _member(key, each, name) for key, each in part.items()}
    return [_moved(each, name) for each in part] if isinstance(part, list | tuple) else part


def _member(key: str, value: object, name: str) -> object:
    if key in _DATA:
        return value
    if key in _NAMED and isinstance(value, Mapping):
        return {each: _moved(schema, name) for each, schema in value.items()}
    if key in _REFERENCES and isinstance(value, str):
        return _pointed(value, name)
    if key in _ANCHORS and isinstance(value, str):
        return f"{name}.{value}"
    return _moved(value, name)


def _pointed(reference: str, name: str) -> str:
    """Pointers move along; anchors of one schema are not those of another."""
    if reference == "#" or reference.startswith("#/"):
        return f"#/$defs/{name}{reference[1:]}"
    return f"#{name}.{reference[1:]}"
