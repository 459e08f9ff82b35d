"""The tool with which an agent reads on in large values. The orchestrator has it itself, and
offers it in tasks that have such values."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from time import perf_counter
from typing import Final

from services.chassis.errors import Violation, invalid
from services.orchestrator.domain.events import Spec
from services.orchestrator.domain.large import Large, bytes_for, fitting, part
from services.orchestrator.domain.references import readable
from services.orchestrator.domain.task import Task
from services.orchestrator.domain.tool import READ_RESULT, Tool
from services.orchestrator.equipment import Equipment
from services.orchestrator.ports import TaskLog
from services.orchestrator.toolports import Calling, Invocation, Returned

NAME: Final = READ_RESULT
DEFAULT_BYTES: Final = 2000
MOST_BYTES: Final = 3000
MOST_CHARACTERS: Final = 3500  # As JSON, so that what is read is shown whole.
_MOST_OFFSET: Final = 2**31 - 1
_TIMEOUT_MS: Final = 30_000.0


def equipped(equipment: Equipment, spec: Spec, found: Mapping[str, Large]) -> Equipment:
    """What a task runs with that has these large values: with the tool that reads them."""
    if not spec.has_tools or not found:
        return equipment
    return replace(equipment, tools={**equipment.tools, NAME: _tool(tuple(found))})


@lru_cache(256)
def _tool(names: tuple[str, ...]) -> Tool:
    """The same tool for the same values. Its schema names them, so that no model can miss them."""
    size = {"type": "integer", "minimum": 1, "maximum": MOST_BYTES}
    offset = {"type": "integer", "minimum": 0, "maximum": _MOST_OFFSET}
    properties = {"of": {"enum": list(names)}, "offset": offset, "length": size}
    document = {"type": "object", "properties": properties, "additionalProperties": False}
    description = "Reads on in a large value, from a byte offset on. Without of, in the latest."
    return Tool(NAME, "1.0.0", description, document, (), _TIMEOUT_MS, is_idempotent=True)


class Reading:
    """See `Calling`: the tools of a task, and the one that reads its large values."""

    def __init__(self, tools: Calling, log: TaskLog, task: Task) -> None:
        self._tools = tools
        self._log = log
        self._task = task

    async def call(self, invocation: Invocation) -> Returned:
        """See `Calling`. What is read here is bounded by the object store's own time limit."""
        if invocation.tool.name != NAME or not readable(self._task):
            return await self._tools.call(invocation)
        began = perf_counter()
        output = await self._read(invocation.input)
        return Returned(output, None, (perf_counter() - began) * 1000)

    async def _read(self, given: Mapping[str, object]) -> Mapping[str, object]:
        found = readable(self._task)
        name, offset, length = _checked(given, list(found))
        large, tenant = found[name], self._task.spec.tenant
        start = min(offset, large.size_bytes)
        body = await self._log.value(tenant, large, offset=start, length=bytes_for(length))
        read = part(body, start, length, large.size_bytes)
        shown = replace(read, text=fitting(read.text, MOST_CHARACTERS))
        return {
            "of": name,
            "offset": shown.offset,
            "next_offset": shown.next_offset,
            "size_bytes": large.size_bytes,
            "text": shown.text,
        }


def _checked(given: Mapping[str, object], names: list[str]) -> tuple[str, int, int]:
    """What a model asks for.

    Raises:
        InvalidArgument: `TOOL_INPUT_INVALID`.
    """
    name = given.get("of", names[-1])
    offset, length = given.get("offset", 0), given.get("length", DEFAULT_BYTES)
    faults = []
    if name not in names:
        known = "use one of " + ", ".join(names[-8:]) + ", or leave it out for the latest"
        faults.append(Violation("of", "names no large value", known))
    if not _is_integer(offset, 0, _MOST_OFFSET):
        faults.append(Violation("offset", "is no offset", "send 0, or the next_offset"))
    if not _is_integer(length, 1, MOST_BYTES):
        faults.append(Violation("length", "is no length", f"send 1 to {MOST_BYTES}"))
    if faults or not isinstance(offset, int) or not isinstance(length, int):
        raise invalid(*faults, reason="TOOL_INPUT_INVALID")
    return str(name), offset, length


def _is_integer(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
