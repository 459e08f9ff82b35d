"""JSON Schemas that callers bring, compiled and kept for a while."""

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

from services.chassis.errors import InvalidArgument, Violation, invalid
from services.chassis.schema import MAX_BYTES, Schema

_KEPT: Final = 64
_KEPT_CHARACTERS: Final = (
    1024 * 1024
)  # Of source: what is made of it takes some fifty times as much.
_MAX_BYTES: Final = 32 * 1024
# A step's schema puts some levels around it, and protobuf reads 100 messages deep: an object takes
# three of them, a list two.
_MAX_MESSAGES: Final = 80
_MAX_LEVELS: Final = 27  # The same for the levels that any schema may have.


class CompiledSchemas:
    """The most recently used schemas, compiled."""

    def __init__(self) -> None:
        self._compiled: OrderedDict[str, Schema] = OrderedDict()
        self._characters = 0

    def check(self, schema: Mapping[str, object], *, field: str) -> None:
        """Refuse what is no schema, and what would not reach the model."""
        messages, levels = _nested(schema, 3, 2), _nested(schema, 1, 1)
        if messages > _MAX_MESSAGES or levels > _MAX_LEVELS:
            fault = Violation(field, "is nested too deeply", "move parts to $defs")
            raise invalid(fault, reason="SCHEMA_INVALID")
        self._compile(schema, field)

    def violations(
        self, schema: Mapping[str, object], value: object, *, field: str = ""
    ) -> Sequence[Violation]:
        """What is wrong with a value. A schema of a tool's own may be longer than a caller's."""
        if not field:
            return self._compile(schema, "response_schema").violations(value)
        return self._compile(schema, field, name=field, most=MAX_BYTES).violations(value)

    def fits(self, schema: Mapping[str, object]) -> bool:
        """Whether inference takes it; it has the same bounds."""
        try:
            Schema(schema, field="response_schema")
        except InvalidArgument:
            return False
        return True

    def _compile(
        self, schema: Mapping[str, object], field: str, *, name: str = "", most: int = _MAX_BYTES
    ) -> Schema:
        key = name + json.dumps(schema, sort_keys=True)
        if (compiled := self._compiled.get(key)) is None:
            compiled = self._compiled[key] = Schema(schema, field=field, max_bytes=most)
            self._characters += len(key)
            while len(self._compiled) > _KEPT or self._characters > _KEPT_CHARACTERS:
                self._characters -= len(self._compiled.popitem(last=False)[0])
        self._compiled.move_to_end(key)
        return compiled


def _nested(part: object, of_object: int, of_list: int) -> int:
    """How deep it is nested. Its own depth was bounded when it was read."""
    if isinstance(part, Mapping):
        return of_object + max((_nested(x, of_object, of_list) for x in part.values()), default=0)
    if isinstance(part, list):
        return of_list + max((_nested(x, of_object, of_list) for x in part), default=0)
    return 0
