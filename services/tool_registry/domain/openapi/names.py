"""What tools of operations are called. Pure."""

import re
from collections.abc import Sequence
from typing import Final

from services.tool_registry.domain.names import MAX_TAGS
from services.tool_registry.domain.openapi.document import Operation, text

MAX_NAME: Final = 64
_OTHER: Final = re.compile(r"[^A-Za-z0-9_-]+", re.ASCII)
_NO_TAG: Final = re.compile(r"[^a-z0-9_.-]+", re.ASCII)


def names(operations: Sequence[Operation], namespace: str) -> list[str]:
    """The name of each, `namespace__operationId`. Where names clash, the later are numbered."""
    taken: set[str] = set()
    result: list[str] = []
    for operation in operations:
        said = text(operation.part.get("operationId")) or f"{operation.method}{operation.path}"
        base = f"{namespace}__{_OTHER.sub('_', said).strip('_') or 'operation'}"
        name, number = base[:MAX_NAME], 1
        while name in taken:
            number += 1
            end = f"_{number}"
            name = base[: MAX_NAME - len(end)] + end
        taken.add(name)
        result.append(name)
    return result


def tags(given: Sequence[str], said: Sequence[object]) -> tuple[str, ...]:
    """The tags of a tool: those that the import gives, and those of the document as tags are."""
    own = (_NO_TAG.sub("-", each.lower()).strip("-_.")[:MAX_NAME] for each in map(text, said))
    return tuple(dict.fromkeys(filter(None, [*given, *own])))[:MAX_TAGS]
