"""What tools warn of, as a task has it. Pure."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from services.orchestrator.domain import events as ev
from services.orchestrator.domain.task import Task

MOST_OF_A_CALL: Final = 8
MOST_OF_A_TASK: Final = 100  # All of them are in its end.
MOST_CHARACTERS: Final = 1000
_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{1,62}")


def news(task: Task, warnings: Sequence[tuple[str, str]], now: datetime) -> Sequence[ev.Warned]:
    """Those that the task does not have yet, in their order."""
    said = {(each.code, each.message) for each in task.warnings}
    room = max(0, MOST_OF_A_TASK - len(task.warnings))
    found: list[ev.Warned] = []
    for code, message in warnings[:MOST_OF_A_CALL]:
        told = (code if _CODE.fullmatch(code) else "TOOL_WARNED", message[:MOST_CHARACTERS])
        if told not in said:
            said.add(told)
            found.append(ev.Warned(now, *told))
    return found[:room]
