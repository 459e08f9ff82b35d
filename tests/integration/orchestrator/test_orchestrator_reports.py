"""What a tool says while it runs, and beside its result, is in the task's log."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2 as tools_pb
from runplane.type.v1 import content_pb2

from services.chassis.errors import ResourceExhausted, Unavailable
from services.orchestrator.reports import MOST_BYTES, MOST_LOGS
from services.orchestrator.settings import TaskSettings
from tests.integration.orchestrator.conftest import SHARED
from tests.integration.orchestrator.places import Place, placed
from tests.integration.orchestrator.talks import start, talk
from tests.servers.registry import Told, failed, success

pytestmark = pytest.mark.asyncio(loop_scope="module")

IMPORT = "tool:import {}\nDone."


@pytest_asyncio.fixture(loop_scope="module")
async def place() -> AsyncIterator[Place]:
    """With a tool that says how far it is."""
    async with placed() as found:
        found.tools.add("import", reports_progress=True)
        yield found


def progress(done: float, **fields: object) -> tools_pb.ToolCallEvent:
    said = tools_pb.ToolProgress(progress=done, **fields)
    return tools_pb.ToolCallEvent(type="progress", progress=said)


def log(message: str, level: str = "info") -> tools_pb.ToolCallEvent:
    said = tools_pb.ToolLog(level=level, message=message)
    return tools_pb.ToolCallEvent(type="log", log=said)


async def test_a_watcher_sees_how_far_a_tool_is_while_it_runs(place: Place) -> None:
    seen = asyncio.Event()

    async def run(_: tools_pb.CallToolRequest, tell: Told) -> tools_pb.CallToolResponse:
        await tell(progress(1, total=3, message="reading"))
        await tell(log("row 7 is empty", "warning"))
        await seen.wait()
        return success({"rows": 3})

    place.tools.answers["import"] = run
    async with talk(place.suite, **start(IMPORT)) as it:
        said = await it.until("tool_progress")
        logged = await it.until("tool_log")
        seen.set()
        await it.rest()

    assert (said.progress, said.total, said.message) == (1, 3, "reading")
    assert (logged.level, logged.message) == ("warning", "row 7 is empty")
    assert {said.tool_call_id, logged.tool_call_id} == {it.events[2].tool_call_id}
    assert it.events[-1].status == "completed"
    sequences = [event.sequence for event in it.events]
    assert sequences == list(range(1, len(sequences) + 1))


async def test_a_tool_that_says_too_much_slows_nobody(place: Place) -> None:
    async def run(_: tools_pb.CallToolRequest, tell: Told) -> tools_pb.CallToolResponse:
        for number in range(2 * MOST_LOGS):
            await tell(progress(number))
            await tell(log("é" * MOST_BYTES))
        return success({})

    place.tools.answers["import"] = run
    events = await place.ran(IMPORT)

    logs = [event for event in events if event.type == "tool_log"]
    assert len(logs) == MOST_LOGS
    assert max(len(event.message.encode()) for event in logs) <= MOST_BYTES
    times = [event.time.ToDatetime() for event in events if event.type == "tool_progress"]
    took = times[-1] - times[0]
    assert len(times) <= 1 + took.total_seconds() / 0.2
    assert events[-1].status == "completed"


async def test_a_cancel_of_the_task_reaches_a_tool_that_says_how_far_it_is(place: Place) -> None:
    async def run(_: tools_pb.CallToolRequest, tell: Told) -> tools_pb.CallToolResponse:
        await tell(progress(1))
        await asyncio.Event().wait()
        raise AssertionError

    place.tools.answers["import"] = run
    async with talk(place.suite, **start(IMPORT)) as it:
        await it.until("tool_progress")
        await it.say(cancel=pb.Cancel(reason="enough"))
        await it.rest()

    assert it.events[-1].status == "canceled"
    async with asyncio.timeout(5):
        await place.tools.cancelled.wait()


async def test_what_the_registry_warns_of_is_in_the_log_and_in_the_task_once(place: Place) -> None:
    async def run(_: tools_pb.CallToolRequest, tell: Told) -> tools_pb.CallToolResponse:
        warning = tools_pb.CallWarning(code="TOOL_DEPRECATED", message="use another")
        return success({}, warnings=[warning, warning])

    place.tools.add("old")
    place.tools.answers["old"] = run
    events = await place.ran("tool:old {}\n\ntool:old {}\n\nDone.")

    said = content_pb2.Warning(code="TOOL_DEPRECATED", message="use another")
    assert [event.warning for event in events if event.type == "warning"] == [said]
    assert list(events[-1].warnings) == [said]


async def test_content_of_a_result_is_in_the_log_and_its_words_are_the_output(place: Place) -> None:
    image = {"type": "image", "data": "aGk=", "mimeType": "image/png"}

    async def run(_: tools_pb.CallToolRequest, tell: Told) -> tools_pb.CallToolResponse:
        blocks = [{"type": "text", "text": "A cat."}, image]
        content = [ParseDict(each, Struct()) for each in blocks]
        return tools_pb.CallToolResponse(status="success", content=content)

    place.tools.add("draw")
    place.tools.answers["draw"] = run
    events = await place.ran("tool:draw {}\nDrawn.")

    (result,) = [event for event in events if event.type == "tool_result"]
    assert result.output.string_value == "A cat."
    assert MessageToDict(result.content[1]) == image


async def test_content_too_large_for_the_log_is_kept_beside_it(tmp_path: Path) -> None:
    shared = SHARED.model_copy(update={"object_store": f"file://{tmp_path}"})
    data = "a" * 5000

    async def run(_: tools_pb.CallToolRequest, tell: Told) -> tools_pb.CallToolResponse:
        block = {"type": "image", "data": data, "mimeType": "image/png"}
        return success("A cat.", content=[ParseDict(block, Struct())])

    async with placed(TaskSettings(inline_bytes=1024), shared=shared) as place:
        place.tools.add("draw")
        place.tools.answers["draw"] = run
        events = await place.ran("tool:draw {}\nDrawn.")
        (result,) = [event for event in events if event.type == "tool_result"]
        part = await place.suite.stub.GetTaskObject(
            pb.GetTaskObjectRequest(
                task_id=result.task_id, sha256=result.content_reference.sha256, length=1 << 20
            ),
            timeout=5,
        )

    assert (len(result.content), result.output.string_value) == (0, "A cat.")
    assert json.loads(part.text)[0]["data"] == data


async def test_content_that_nobody_can_keep_is_left_out_with_a_warning() -> None:
    async def run(_: tools_pb.CallToolRequest, tell: Told) -> tools_pb.CallToolResponse:
        block = {"type": "image", "data": "a" * 5000, "mimeType": "image/png"}
        return success("A cat.", content=[ParseDict(block, Struct())])

    async with placed(TaskSettings(inline_bytes=1024)) as place:
        place.tools.add("draw")
        place.tools.answers["draw"] = run
        events = await place.ran("tool:draw {}\nDrawn.")

    (result,) = [event for event in events if event.type == "tool_result"]
    assert (result.status, len(result.content)) == ("success", 0)
    assert [each.code for each in events[-1].warnings] == ["TOOL_CONTENT_DROPPED"]


async def test_why_a_tool_failed_is_in_the_log_as_it_says(place: Place) -> None:
    async def run(_: tools_pb.CallToolRequest, tell: Told) -> tools_pb.CallToolResponse:
        return failed("PLACE_UNKNOWN", "there is no Oslo", "name a city")

    place.tools.add("weather")
    place.tools.answers["weather"] = run
    events = await place.ran("tool:weather {}\nSorry.")

    (result,) = [event for event in events if event.type == "tool_result"]
    error = result.error
    said = (error.error_code, error.message, error.suggested_fix)
    assert said == ("PLACE_UNKNOWN", "there is no Oslo", "name a city")
    assert events[-1].status == "completed"


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (Unavailable("TOOL_CIRCUIT_OPEN", "it failed too often"), 2),
        (ResourceExhausted("TOOLS_OVERLOADED", "too many calls"), 2),
        (Unavailable("TOOL_UNAVAILABLE", "it hung up"), 1),
    ],
    ids=lambda each: getattr(each, "reason", None),
)
async def test_a_call_that_was_not_let_through_is_made_again(
    place: Place, error: Unavailable | ResourceExhausted, calls: int
) -> None:
    async def run(_: tools_pb.CallToolRequest, tell: Told) -> tools_pb.CallToolResponse:
        if len(place.tools.called) == 1:
            raise error.after(timedelta(milliseconds=1))
        return success({})

    place.tools.add("weather", is_idempotent=False)
    place.tools.answers["weather"] = run
    events = await place.ran("tool:weather {}\nDone.")

    assert len(place.tools.called) == calls
    (result,) = [event for event in events if event.type == "tool_result"]
    assert result.status == ("success" if calls == 2 else "error")
    keys = {each.request.idempotency_key for each in place.tools.called}
    assert keys == {result.tool_call_id}
