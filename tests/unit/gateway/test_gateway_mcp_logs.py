"""Large values of tasks, read in parts."""

import asyncio
from typing import Any, cast

import pytest

from gateway.mcp.details import Details
from gateway.mcp.logs import MAX_OBJECT_BYTES, Logs
from gateway.mcp.rpc import Caller, Services
from services.orchestrator.domain import large

Wire = dict[str, Any]
CALLER = cast("Caller", None)
SHA = "ab" * 32


class Objects:
    """An orchestrator's `GetTaskObject`, of one text, and the last event of a log."""

    def __init__(self, text: str) -> None:
        self.body = text.encode()
        self.reference = {"sha256": SHA, "size_bytes": len(self.body)}

    def __getitem__(self, name: str) -> "Objects":
        return self

    async def __call__(self, caller: Caller, request: Wire, *, seconds: float) -> Wire:
        offset, length = request.get("offset", 0), request["length"]
        body = self.body[offset : offset + large.bytes_for(length)]
        part = large.part(body, offset, length, len(self.body))
        said = {"text": part.text, "size_bytes": part.size_bytes}
        return said if part.next_offset is None else {**said, "next_offset": part.next_offset}

    async def stream(self, caller: Caller, request: Wire, *, seconds: float) -> Any:
        yield {"type": "tool_result", "reference": self.reference, "sequence": 1}


def shown(objects: Objects, **fields: Any) -> Wire:
    """The result of a task that has completed."""
    task = {"task_id": "task_1", "session_id": "", "status": "completed", "last_sequence": 1}
    details = Details(cast("Services", objects))
    found = asyncio.run(details.of(CALLER, {**task, "query": "", **fields}))
    result: Wire = found["result"]
    return result


@pytest.mark.parametrize("text", ["x" + "漢" * 699_050, "x" * MAX_OBJECT_BYTES, ""])
def test_a_large_value_comes_whole(text: str) -> None:
    objects = Objects(text)

    found = asyncio.run(Logs(cast("Services", objects)).value(CALLER, "task_1", objects.reference))

    assert found == text


def test_a_result_that_is_too_large_says_so_and_where_it_is() -> None:
    result = shown(Objects("1" * (MAX_OBJECT_BYTES + 1)), call={"tool": "compute"})

    (block,) = result["content"]
    assert f"{MAX_OBJECT_BYTES + 1} bytes" in block["text"]
    assert f"GET /v1/tasks/task_1/objects/{SHA}" in block["text"]
    assert "structuredContent" not in result


def test_an_answer_that_is_too_large_is_shown_with_a_note_that_it_is_cut() -> None:
    objects = Objects("x" * (MAX_OBJECT_BYTES + 1))

    result = shown(objects, query="Hello", result="It is", result_reference=objects.reference)

    answer = result["structuredContent"]["answer"]
    assert answer.startswith("It is… (")
    assert f"GET /v1/tasks/task_1/objects/{SHA}" in answer
