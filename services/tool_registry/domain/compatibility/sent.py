"""What callers send to a schema: the fields that it names."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

_REFERENCES: Final = ("$ref", "$dynamicRef")
_DEFINITIONS: Final = ("#/$defs/", "#/definitions/")
_MORE: Final = frozenset(
    {
        *_REFERENCES,
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "if",
        "dependentSchemas",
        "patternProperties",
        "additionalProperties",
        "unevaluatedProperties",
        "propertyNames",
        "minProperties",
    }
)
"""Where an object says one of these, its `properties` are not all that it says of its fields."""


def as_sent(document: Mapping[str, object]) -> Mapping[str, object]:
    """The same schema, whose objects have no fields but those that they name, wherever they are
    silent about others. Callers make up no names: a model is shown the schema, and a program was
    written for it."""
    if all(target.startswith(_DEFINITIONS) for target in _targets(document)):
        return _closed(document)
    return document  # What refers to one of these objects may mean it to have more fields.


def _closed(part: Mapping[str, object]) -> Mapping[str, object]:
    found = dict(part)
    properties = part.get("properties")
    if isinstance(properties, Mapping) and properties:
        found["properties"] = {name: _of(each) for name, each in properties.items()}
        if not _MORE & part.keys():
            found["additionalProperties"] = False
    if "items" in part:
        found["items"] = _of(part["items"])
    return found


def _of(part: object) -> object:
    return _closed(part) if isinstance(part, Mapping) else part


def _targets(document: object) -> Iterator[str]:
    pending = [document]
    while pending:
        part = pending.pop()
        if isinstance(part, Mapping):
            yield from (str(part[name]) for name in _REFERENCES if name in part)
            pending.extend(part.values())
        elif isinstance(part, Sequence) and not isinstance(part, str):
            pending.extend(part)
