"""What callers can do with the large values of tasks."""

import json
import logging
import re
from dataclasses import replace
from typing import Final

from services.chassis.errors import ServiceError, Violation, invalid
from services.orchestrator.domain.large import JSON, Large, Part, bytes_for, part
from services.orchestrator.domain.references import find
from services.orchestrator.domain.task import Task
from services.orchestrator.ports import TaskLog
from services.orchestrator.usecases.caller import Caller
from services.orchestrator.usecases.tasks import Tasks

log = logging.getLogger(__name__)

DEFAULT_BYTES: Final = 64 * 1024
MOST_BYTES: Final = 1024 * 1024  # Of a message's 4 MiB: JSON may take three times as much.
_WHOLE_JSON_BYTES: Final = 256 * 1024  # As text and as values, which take up to six times as much.
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class Objects:
    """Shows what the logs of tasks refer to."""

    def __init__(self, tasks: Tasks, log: TaskLog) -> None:
        self._tasks = tasks
        self._log = log

    async def get(
        self, caller: Caller, task_id: str, sha256: str, *, offset: int, length: int
    ) -> tuple[Large, Part]:
        """A value that a task of the caller's tenant refers to, and a part of it; a length of 0
        means the default.

        Raises:
            InvalidArgument: `INVALID_REQUEST`.
            NotFound: `TASK_NOT_FOUND` or `OBJECT_NOT_FOUND`.
        """
        _check(sha256, offset, length)
        large = find(await self._tasks.get(caller, task_id), sha256)
        wanted = length or DEFAULT_BYTES
        start = min(offset, large.size_bytes)
        length = bytes_for(wanted)
        body = await self._log.value(caller.tenant, large, offset=start, length=length)
        return large, part(body, start, wanted, large.size_bytes)

    async def whole(self, task: Task) -> Task:
        """The task with all of its answer. While that cannot be had, as it is: its warnings say
        that it is cut. So is a tool's result, and what is too long for a message beside the rest.
        """
        if not isinstance(large := task.output, Large) or task.spec.call is not None:
            return task
        if large.size_bytes > (_WHOLE_JSON_BYTES if large.media_type == JSON else MOST_BYTES):
            return task
        try:
            body = await self._log.value(task.spec.tenant, large, offset=0, length=large.size_bytes)
        except ServiceError as error:
            facts = {"task_id": task.spec.task_id, "error_code": error.reason}
            log.warning("answer shown in part", extra=facts)
            return task
        text, is_json = body.decode(), large.media_type == JSON
        return replace(task, text=text, output=json.loads(text) if is_json else None)


def _check(sha256: str, offset: int, length: int) -> None:
    faults = []
    if not _SHA256.fullmatch(sha256):
        fix = "send the sha256 of a reference: 64 of 0-9 a-f"
        faults.append(Violation("sha256", "is no hash", fix))
    if offset < 0:
        faults.append(Violation("offset", "is negative", "send 0, or the next_offset"))
    if not 0 <= length <= MOST_BYTES:
        fix = f"send 1 to {MOST_BYTES}, or leave it out for {DEFAULT_BYTES}"
        faults.append(Violation("length", f"is {length}", fix))
    if faults:
        raise invalid(*faults)
