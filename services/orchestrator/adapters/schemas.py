"""JSON Schemas that callers bring, compiled and kept for a while."""

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

from services.chassis.errors import Violation
from services.chassis.schema import Schema

_KEPT: Final = 256


class CompiledSchemas:
    """The most recently used schemas, compiled."""

    def __init__(self) -> None:
        self._compiled: OrderedDict[str, Schema] = OrderedDict()

    def check(self, schema: Mapping[str, object], *, field: str) -> None:
        """Refuse what is no schema."""
        self._compile(schema, field)

    def violations(self, schema: Mapping[str, object], value: object) -> Sequence[Violation]:
        """What is wrong with a value."""
        return self._compile(schema, "response_schema").violations(value)

    def _compile(self, schema: Mapping[str, object], field: str) -> Schema:
        key = json.dumps(schema, sort_keys=True)
        if (compiled := self._compiled.get(key)) is None:
            compiled = self._compiled[key] = Schema(schema, field=field)
            if len(self._compiled) > _KEPT:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(key)
        return compiled
