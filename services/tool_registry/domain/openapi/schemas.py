"""Schemas of OpenAPI as JSON Schema 2020-12, with what they refer to. Pure.

3.1 has that dialect already; 3.0 has one of its own. Of both, keywords that no validator knows are
dropped, and what is only ever read or only ever written is dropped from the other direction.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from services.chassis.schema import MAX_BYTES
from services.tool_registry.domain.openapi.dialect import KEYWORDS, Way, directed, modern
from services.tool_registry.domain.openapi.document import Document, Unsupported, mapping

_ELSEWHERE: Final = frozenset({"$anchor", "$dynamicAnchor", "$dynamicRef", "$id"})
_COMPONENTS: Final = "#/components/schemas/"
_DEPTH: Final = 64


@dataclass(frozen=True, slots=True)
class _Part:
    """A schema that others refer to."""

    schema: object
    references: frozenset[str]
    size_bytes: int


class Schemas:
    """A document's schemas, each translated once."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._parts: dict[tuple[str, Way], _Part] = {}

    def whole(self, schema: Mapping[str, object], way: Way) -> dict[str, object]:
        """A schema whose own parts may be the document's, as one that stands alone.

        Raises:
            Unsupported: it is none, too large, or refers to what is not there.
        """
        references: set[str] = set()
        result = mapping(self._translated(schema, way, references, 0))
        definitions: dict[str, object] = {}
        waiting, size = sorted(references), 0
        while waiting:
            reference = waiting.pop()
            if (name := _name(reference)) in definitions:
                continue
            part = self._part(reference, way)
            size += part.size_bytes
            if size > MAX_BYTES:
                raise Unsupported(f"its schema has more than {MAX_BYTES:,} bytes")
            definitions[name] = part.schema
            waiting.extend(part.references)
        defined = {"$defs": dict(sorted(definitions.items()))} if definitions else {}
        return {**result, **defined}

    def _part(self, reference: str, way: Way) -> _Part:
        if (known := self._parts.get((reference, way))) is not None:
            return known
        references: set[str] = set()
        schema = self._translated(self._document.at(reference), way, references, 0)
        size = len(json.dumps(schema, ensure_ascii=False).encode())
        part = _Part(schema, frozenset(references), size)
        self._parts[reference, way] = part
        return part

    def _translated(self, schema: object, way: Way, into: set[str], depth: int) -> object:
        """The schema. References that it has go into a set."""
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, Mapping) or depth > _DEPTH:
            raise Unsupported("it has a schema that is none")
        if not _ELSEWHERE.isdisjoint(schema):
            raise Unsupported(f"its schema has {min(_ELSEWHERE & set(schema))}")
        if isinstance(reference := schema.get("$ref"), str):
            into.add(reference)
            there = {"$ref": f"#/$defs/{_escaped(_name(reference))}"}
            # What stands beside it does not count in 3.0.
            beside = {} if self._document.is_old else self._members(schema, way, into, depth)
            return {**beside, **there}
        return self._members(schema, way, into, depth)

    def _members(
        self, schema: Mapping[str, object], way: Way, into: set[str], depth: int
    ) -> dict[str, object]:
        def inner(part: object) -> object:
            return self._translated(part, way, into, depth + 1)

        result = {
            keyword: KEYWORDS[keyword](value, inner)
            for keyword, value in schema.items()
            if keyword in KEYWORDS
        }
        directed(result, schema, way)
        return modern(result, schema) if self._document.is_old else result


def _name(reference: str) -> str:
    """What a reference's target is called under `$defs`."""
    if reference.startswith(_COMPONENTS) and "/" not in reference.removeprefix(_COMPONENTS):
        return reference.removeprefix(_COMPONENTS)
    return reference.removeprefix("#/")


def _escaped(name: str) -> str:
    return quote(name.replace("~", "~0").replace("/", "~1"), safe="~")
