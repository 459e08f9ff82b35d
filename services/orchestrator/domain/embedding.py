"""A JSON Schema inside another one. Pure.

`#` in a reference is the root of the whole document, so a schema that refers to its own parts has
to be told where it has gone.
"""

from collections.abc import Mapping
from typing import Final

Schema = Mapping[str, object]

# What stands in these is data, whatever it looks like.
_DATA: Final = frozenset({"const", "enum", "default", "examples"})


def embedded(schema: Schema, name: str, definitions: dict[str, object]) -> Schema:
    """The schema as part of a document with these `$defs`, to which it may be added as `name`."""
    if not _refers(schema):
        return schema
    definitions[name] = _moved(schema, f"#/$defs/{name}")
    return {"$ref": f"#/$defs/{name}"}


def _refers(part: object) -> bool:
    if isinstance(part, Mapping):
        return isinstance(part.get("$ref"), str) or any(
            _refers(each) for key, each in part.items() if key not in _DATA
        )
    return isinstance(part, list | tuple) and any(map(_refers, part))


def _moved(part: object, root: str) -> object:
    if isinstance(part, Mapping):
        return {key: _member(key, each, root) for key, each in part.items()}
    return [_moved(each, root) for each in part] if isinstance(part, list | tuple) else part


def _member(key: str, value: object, root: str) -> object:
    if key in _DATA:
        return value
    if key == "$ref" and isinstance(value, str):
        return _pointed(value, root)
    return _moved(value, root)


def _pointed(reference: str, root: str) -> str:
    """Pointers move along; the names of anchors hold wherever they stand."""
    is_pointer = reference == "#" or reference.startswith("#/")
    return root + reference[1:] if is_pointer else reference
