"""Parts of a task's log, and the large values that it refers to."""

from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, Final

from gateway.mcp.rpc import Caller, Reply, Services

MAX_OBJECT_BYTES: Final = 4 * 1024 * 1024
_SECONDS: Final = 10.0
_PART: Final = 512 * 1024


class Logs:
    """Reads what is there; waits for nothing."""

    def __init__(self, services: Services) -> None:
        self._watch = services["OrchestratorService/WatchTask"]
        self._object = services["OrchestratorService/GetTaskObject"]

    async def events(self, caller: Caller, task: Reply, *, after: int, most: int) -> list[Reply]:
        """Events that follow `after`, at most so many, of those that the task says it has."""
        last = min(task["last_sequence"], after + most)
        if last <= after:
            return []
        request = {"task_id": task["task_id"], "after_sequence": after}
        read: list[Reply] = []
        stream = self._watch.stream(caller, request, seconds=_SECONDS)
        async with aclosing(stream):
            async for event in stream:
                read.append(event)
                if event.get("sequence", 0) >= last:
                    break
        return read

    async def latest(self, caller: Caller, task: Reply, *, most: int) -> list[Reply]:
        """The last events that the task says it has."""
        after = max(0, task["last_sequence"] - most)
        return await self.events(caller, task, after=after, most=most)

    async def value(self, caller: Caller, task_id: str, reference: Mapping[str, Any]) -> str | None:
        """All of a large value; None of one that is larger than `MAX_OBJECT_BYTES`."""
        request: dict[str, Any] = {
            "task_id": task_id,
            "sha256": reference["sha256"],
            "length": _PART,
        }
        parts: list[str] = []
        while request.get("offset", 0) <= MAX_OBJECT_BYTES:
            part = await self._object(caller, request, seconds=_SECONDS)
            if part["size_bytes"] > MAX_OBJECT_BYTES:
                return None
            parts.append(part["text"])
            if "next_offset" not in part:
                return "".join(parts)
            request["offset"] = part["next_offset"]
        return None


def too_large(task_id: str, reference: Mapping[str, Any]) -> str:
    """What stands for such a value."""
    return (
        f"({reference.get('size_bytes', 0)} bytes, of which at most {MAX_OBJECT_BYTES} are shown "
        f"here. GET /v1/tasks/{task_id}/objects/{reference['sha256']} returns them in parts.)"
    )
