"""The order in which a schema's properties are produced.

Schemas come as protobuf Structs, whose maps have no order, and engines produce properties in the
order in which the schema has them.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from services.inference.domain.request import JSON

_SCHEMAS_BY_NAME: Final = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
)
DATA: Final = frozenset({"const", "enum", "default", "examples"})
"""Keywords whose values are data, and no schemas."""


def in_order(schema: Mapping[str, JSON]) -> dict[str, JSON]:
    """The same schema, every object's `properties` ordered by its `required`, then by name."""
    required = schema.get("required")
    first = (
        [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    )
    return {
        keyword: _value(keyword, value, first if keyword == "properties" else [])
        for keyword, value in sorted(schema.items())
    }


def _value(keyword: str, value: JSON, first: Sequence[str]) -> JSON:
    if keyword in DATA:
        return value
    if keyword in _SCHEMAS_BY_NAME and isinstance(value, Mapping):
        rank = {name: index for index, name in enumerate(first)}
        names = sorted(value, key=lambda name: (rank.get(name, len(rank)), name))
        return {name: _schema(value[name]) for name in names}
    return _schema(value)


def _schema(value: JSON) -> JSON:
    if isinstance(value, Mapping):
        return in_order(value)
    if isinstance(value, list):
        return [_schema(item) for item in value]
    return value
