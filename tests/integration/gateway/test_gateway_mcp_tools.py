"""Tools over MCP, as the SDK's own client sees them."""

import asyncio
from typing import Any

import mcp
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitResult, LoggingMessageNotificationParams
from runplane.tool_registry.v1 import tool_registry_pb2 as pb

from services.chassis.errors import DeadlineExceeded, InvalidArgument, Unavailable
from tests.integration.gateway.places import QUESTION, Place, client, packed
from tests.servers.registry import Told, asks, failed, success

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODES = ["2026-07-28", "legacy"]
BLOCKS = [{"type": "image", "data": "aGk=", "mimeType": "image/png"}]


def answers(place: Place, name: str, response: Any) -> None:
    """Let a tool answer this, or raise it."""

    async def answer(request: pb.CallToolRequest, tell: Told) -> pb.CallToolResponse:
        if isinstance(response, Exception):
            raise response
        copy = pb.CallToolResponse()
        copy.CopyFrom(response)
        return copy

    place.tools.answers[name] = answer


async def listed(place: Place, mode: str = MODES[0]) -> dict[str, Any]:
    """All tools, by name."""
    async with client(place, mode) as it:
        return {tool.name: tool for tool in (await it.list_tools()).tools}


@pytest.mark.parametrize("mode", MODES)
async def test_tools_are_listed_by_name_with_all_that_is_known_of_them(
    place: Place, mode: str
) -> None:
    output = ParseDict({"type": "object", "properties": {"n": {"type": "number"}}}, Struct())
    place.tools.add("zoom")
    place.tools.add(
        "alpha",
        "2.1.0",
        title="The first",
        description="Does a",
        output_schema=output,
        is_idempotent=True,
        tags=["letters"],
        unavailable="its server is away",
    )

    tools = await listed(place, mode)

    assert list(tools) == ["alpha", "zoom"]
    alpha = tools["alpha"]
    assert (alpha.title, alpha.description) == ("The first", "Does a")
    assert alpha.input_schema == {"type": "object"}
    assert alpha.output_schema == MessageToDict(output)
    assert alpha.annotations.idempotent_hint is True
    assert alpha.annotations.read_only_hint is None
    assert alpha.meta == {
        "dev.runplane/version": "2.1.0",
        "dev.runplane/tags": ["letters"],
        "dev.runplane/unavailable": "its server is away",
    }


async def test_tools_that_nobody_should_or_could_call_are_not_listed(place: Place) -> None:
    place.tools.add("here")
    place.tools.add("old", state=pb.TOOL_STATE_DEPRECATED)
    place.tools.add("theirs", kind=pb.TOOL_KIND_CLIENT)

    assert list(await listed(place)) == ["here"]


async def test_older_versions_see_no_schema_of_results_that_are_no_objects(place: Place) -> None:
    place.tools.add("number", output_schema=ParseDict({"type": "number"}, Struct()))
    answers(place, "number", success(7.5))

    new, old = await listed(place), await listed(place, "legacy")
    async with client(place) as it:
        newer = await it.call_tool("number", {})
    async with client(place, "legacy") as it:
        older = await it.call_tool("number", {})

    assert (new["number"].output_schema, old["number"].output_schema) == ({"type": "number"}, None)
    assert (newer.structured_content, older.structured_content) == (7.5, None)
    assert (newer.content[0].text, older.content[0].text) == ("7.5", "7.5")  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", MODES)
async def test_a_call_brings_the_result_as_json_and_as_text(place: Place, mode: str) -> None:
    place.tools.add("weather")
    answers(place, "weather", success({"temperatures": [22.5, 84]}))

    async with client(place, mode) as it:
        result = await it.call_tool("weather", {"city": "Oslo"})

    assert result.structured_content == {"temperatures": [22.5, 84]}
    assert result.content[0].text == '{"temperatures": [22.5, 84]}'  # type: ignore[union-attr]
    assert not result.is_error
    (called,) = place.tools.called
    assert MessageToDict(called.request.input) == {"city": "Oslo"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "response",
    [
        success({"n": 1}, content=[packed(BLOCKS[0])]),
        success({"content": BLOCKS}),
    ],
    ids=["beside", "instead"],
)
async def test_content_blocks_come_as_they_are(place: Place, mode: str, response: Any) -> None:
    place.tools.add("picture")
    answers(place, "picture", response)

    async with client(place, mode) as it:
        result = await it.call_tool("picture", {})

    assert [block.type for block in result.content] == ["image"]


async def test_a_text_is_said_once(place: Place) -> None:
    place.tools.add("say")
    answers(place, "say", success("hello"))

    async with client(place) as it:
        result = await it.call_tool("say", {})

    assert (result.content[0].text, result.structured_content) == ("hello", None)  # type: ignore[union-attr]


async def test_warnings_come_with_the_result(place: Place) -> None:
    warning = pb.CallWarning(code="TOOL_DEFAULTED", message="it failed")
    place.tools.add("weather")
    answers(place, "weather", success({}, warnings=[warning]))

    async with client(place) as it:
        result = await it.call_tool("weather", {})

    said = [{"code": "TOOL_DEFAULTED", "message": "it failed"}]
    assert result.meta is not None
    assert result.meta["dev.runplane/warnings"] == said


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("response", "text"),
    [
        (
            failed("PLACE_UNKNOWN", "there is no Oslo", "name a city"),
            "PLACE_UNKNOWN: there is no Oslo\nname a city",
        ),
        (
            InvalidArgument("TOOL_INPUT_INVALID", "a city is missing", suggested_fix="name one"),
            "TOOL_INPUT_INVALID: a city is missing\nname one",
        ),
        (
            DeadlineExceeded("TOOL_TIMEOUT", "it took longer than 1 s"),
            "TOOL_TIMEOUT: it took longer than 1 s",
        ),
    ],
    ids=["failed", "input", "timeout"],
)
async def test_what_the_model_can_mend_is_told_as_what_the_tool_said(
    place: Place, mode: str, response: Any, text: str
) -> None:
    place.tools.add("weather")
    answers(place, "weather", response)

    async with client(place, mode) as it:
        result = await it.call_tool("weather", {})

    assert result.is_error
    assert result.content[0].text == text  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("response", "code", "reason"),
    [
        (None, -32602, "TOOL_NOT_FOUND"),
        (Unavailable("TOOL_CIRCUIT_OPEN", "it failed too often"), -32603, "TOOL_CIRCUIT_OPEN"),
        (failed("MCP_REFUSED", "there is no such thing"), -32602, "MCP_REFUSED"),
        (failed("MCP_ERROR", "it broke"), -32603, "MCP_ERROR"),
    ],
    ids=["unknown", "unavailable", "refused", "broken"],
)
async def test_what_nobody_ran_is_an_error_of_the_protocol(
    place: Place, mode: str, response: Any, code: int, reason: str
) -> None:
    if response is not None:
        place.tools.add("weather")
        answers(place, "weather", response)

    async with client(place, mode) as it:
        with pytest.raises(MCPError) as caught:
            await it.call_tool("weather", {})

    assert caught.value.code == code
    data = caught.value.data
    assert data.get("error_code", data.get("reason")) == reason


async def test_a_number_that_json_does_not_carry_exactly_is_told(place: Place) -> None:
    place.tools.add("count")
    await listed(place)

    async with client(place) as it:
        result = await it.call_tool("count", {"n": 2**60})

    assert result.is_error
    assert "2^53" in result.content[0].text  # type: ignore[union-attr]
    assert not place.tools.called


async def test_the_trace_that_a_request_names_goes_on(place: Place) -> None:
    place.tools.add("weather")
    trace, span = "ab" * 16, "cd" * 8

    async with client(place) as it:
        await it.call_tool("weather", {}, meta={"traceparent": f"00-{trace}-{span}-01"})

    (called,) = place.tools.called
    assert called.who.trace_id == trace


@pytest.mark.parametrize("mode", MODES)
async def test_progress_and_logs_of_a_running_tool_are_heard(place: Place, mode: str) -> None:
    async def answer(request: pb.CallToolRequest, tell: Told) -> pb.CallToolResponse:
        progress = pb.ToolProgress(progress=1, total=2, message="half")
        await tell(pb.ToolCallEvent(type="progress", progress=progress))
        log = pb.ToolLog(level="warning", message="hot")
        await tell(pb.ToolCallEvent(type="log", log=log))
        return success({"done": True})

    place.tools.add("cook", reports_progress=True)
    place.tools.answers["cook"] = answer
    await listed(place)
    heard: list[Any] = []

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        heard.append((done, total, message))

    async def on_log(params: LoggingMessageNotificationParams) -> None:
        heard.append((params.level, params.data, params.logger))

    options: dict[str, Any] = {"logging_callback": on_log}
    if mode == MODES[0]:
        options["log_level"] = "info"
    async with client(place, mode, **options) as it:
        result = await it.call_tool("cook", {}, progress_callback=on_progress)

    assert result.structured_content == {"done": True}
    assert heard == [(1.0, 2.0, "half"), ("warning", "hot", "cook")]


async def test_logs_below_the_level_that_was_asked_for_are_not_sent(place: Place) -> None:
    async def answer(request: pb.CallToolRequest, tell: Told) -> pb.CallToolResponse:
        for level in ("debug", "error"):
            log = pb.ToolLog(level=level, message=level)
            await tell(pb.ToolCallEvent(type="log", log=log))
        return success({})

    place.tools.add("cook", reports_progress=True)
    place.tools.answers["cook"] = answer
    await listed(place)
    heard: list[str] = []

    async def on_log(params: LoggingMessageNotificationParams) -> None:
        heard.append(params.level)

    async with client(place, log_level="warning", logging_callback=on_log) as it:
        await it.call_tool("cook", {})

    assert heard == ["error"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("tells", [True, False])
async def test_a_client_that_goes_away_cancels_its_call(
    place: Place, mode: str, tells: bool
) -> None:
    arrived = asyncio.Event()
    place.tools.cancelled.clear()

    async def answer(request: pb.CallToolRequest, tell: Told) -> pb.CallToolResponse:
        arrived.set()
        await asyncio.Event().wait()
        return success({})

    async def call(it: mcp.Client) -> None:
        await it.call_tool("wait", {}, progress_callback=heard if tells else None)

    async def heard(*_: object) -> None:
        return

    place.tools.add("wait", reports_progress=tells)
    place.tools.answers["wait"] = answer
    await listed(place)
    async with asyncio.timeout(5):
        async with client(place, mode) as it:
            calling = asyncio.ensure_future(call(it))
            await arrived.wait()
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling
        await place.tools.cancelled.wait()


async def test_a_tool_may_ask_before_it_answers(place: Place) -> None:
    seen: list[pb.CallToolRequest] = []

    async def answer(request: pb.CallToolRequest, tell: Told) -> pb.CallToolResponse:
        seen.append(request)
        if not request.HasField("input_responses"):
            return asks({"who": QUESTION}, "the state")
        return success(MessageToDict(request.input_responses))

    async def asked(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"name": "Ann"})

    place.tools.add("greet")
    place.tools.answers["greet"] = answer
    async with client(place, elicitation_callback=asked) as it:
        result = await it.call_tool("greet", {})

    assert result.structured_content == {"who": {"action": "accept", "content": {"name": "Ann"}}}
    assert seen[1].request_state == "the state"
    assert "elicitation" in MessageToDict(seen[0].capabilities)


@pytest.mark.parametrize("mode", MODES)
async def test_who_cannot_be_asked_says_nothing_of_capabilities(place: Place, mode: str) -> None:
    place.tools.add("greet")

    async with client(place, mode) as it:
        await it.call_tool("greet", {})

    (called,) = place.tools.called
    assert not called.request.HasField("capabilities")


async def test_a_tool_that_has_to_ask_names_what_its_client_lacks(place: Place) -> None:
    place.tools.add("greet")
    answers(place, "greet", failed("INPUT_NOT_OFFERED", "it has to ask"))

    async with client(place) as it:
        with pytest.raises(MCPError) as caught:
            await it.call_tool("greet", {})

    assert caught.value.code == -32021
    assert caught.value.data == {
        "requiredCapabilities": {"elicitation": {}, "roots": {}, "sampling": {}}
    }
