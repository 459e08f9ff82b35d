"""Calls of tools of MCP servers: over HTTP, as programs, and by the protocol before."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from services.chassis.context import current, local_context
from services.chassis.egress.secrets import HIDDEN
from services.chassis.telling import Logged, Progress
from services.tool_registry.domain import asking
from services.tool_registry.domain.server import Command
from services.tool_registry.domain.tool import ToolFailure
from services.tool_registry.ports import Answer, Invocation
from tests.integration.tool_registry.mcp_server import everything, over_http
from tests.integration.tool_registry.world import World, eventually, world

pytestmark = pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")  # The test server's.

PROGRAM = Command(sys.executable, (str(Path(__file__).with_name("mcp_server.py")),))
ELICITS = {"elicitation": {"form": {}}}


@asynccontextmanager
async def http() -> AsyncIterator[World]:
    async with over_http(everything()) as url, world() as here:
        await here.register("e", url)
        yield here


@asynccontextmanager
async def plain_json() -> AsyncIterator[World]:
    async with over_http(everything(), is_json=True) as url, world() as here:
        await here.register("e", url)
        yield here


@asynccontextmanager
async def old() -> AsyncIterator[World]:
    async with over_http(everything(), is_old=True) as url, world() as here:
        await here.register("e", url)
        yield here


@asynccontextmanager
async def program() -> AsyncIterator[World]:
    async with world() as here:
        await here.register("e", PROGRAM)
        yield here


Opened = Callable[[], AbstractAsyncContextManager[World]]
ALL: list[Opened] = [http, plain_json, old, program]
every = pytest.mark.parametrize("opened", ALL, ids=lambda each: each.__name__)
# An answer that is one JSON text has no room for more, and its server does not see its caller go.
streaming = pytest.mark.parametrize("opened", [http, old, program], ids=lambda each: each.__name__)
VERSIONS = {http: "2026-07-28", plain_json: "2026-07-28", old: "2025-11-25", program: "2026-07-28"}


@every
async def test_a_server_is_reached_and_brings_its_tools(opened: Opened) -> None:
    async with opened() as here:
        shown = await here.until("e", lambda shown: shown.seen.tool_count)

        assert shown.seen.protocol_version == VERSIONS[opened]
        assert (shown.seen.name, shown.seen.version) == ("everything", "1.2.3")
        assert {"e__add", "e__greet", "e__wait"} <= set(here.shelf.names())
        assert shown.seen.tool_count == len(here.shelf.names())


@every
async def test_a_structured_answer_is_the_result(opened: Opened) -> None:
    async with opened() as here:
        answer = await here.call("e__add", a=1, b=2)

        assert (answer.value, list(answer.content)) == ({"sum": 3}, [])


@every
async def test_a_text_is_the_result(opened: Opened) -> None:
    async with opened() as here:
        assert (await here.call("e__greet", name="Ada")).value == "Hello Ada"


@every
async def test_other_content_is_the_result_as_it_is(opened: Opened) -> None:
    async with opened() as here:
        value = (await here.call("e__picture")).value

        assert isinstance(value, dict)
        assert [block["type"] for block in value["content"]] == ["text", "image"]


@every
async def test_what_a_tool_could_not_do_is_its_failure(opened: Opened) -> None:
    async with opened() as here:
        with pytest.raises(ToolFailure) as caught:
            await here.call("e__fail")

        assert (caught.value.reason, caught.value.is_targets) == ("MCP_TOOL_ERROR", False)
        assert "no such thing" in caught.value.message


@every
async def test_the_trace_and_the_idempotency_key_go_along(opened: Opened) -> None:
    async with opened() as here:
        context = local_context()
        token = current.set(context)
        value = (await here.call("e__meta")).value
        current.reset(token)

        assert isinstance(value, dict)
        assert value["meta"]["dev.runplane/idempotency-key"] == "key_1"
        assert value["meta"]["traceparent"] == f"00-{context.trace_id}-{context.span_id}-01"


@streaming
async def test_progress_and_logs_of_a_running_tool_are_heard(opened: Opened) -> None:
    heard: list[Progress | Logged] = []

    async with opened() as here:
        await here.tool("e__work").call(Invocation({}, report=heard.append))

        async def all_heard() -> bool:
            return len(heard) == 2

        await eventually(all_heard)

    expected = {Progress(1, 2, "half of it"), Logged("info", "working")}
    assert set(heard) == expected


@streaming
async def test_cancelling_reaches_the_server(opened: Opened) -> None:
    async with opened() as here:

        async def saw(*expected: str) -> bool:
            return (await here.call("e__waits")).value == {"result": [*expected]}

        call = asyncio.create_task(here.call("e__wait"))
        await eventually(partial(saw, "started"))
        call.cancel()
        await asyncio.wait([call], timeout=5)
        await eventually(partial(saw, "started", "cancelled"))

        assert call.cancelled()


@pytest.mark.parametrize("opened", [http, plain_json, program], ids=lambda each: each.__name__)
async def test_what_a_tool_asks_for_comes_back_and_is_answered(opened: Opened) -> None:
    async with opened() as here:
        tool = here.tool("e__introduce")
        asked = (await tool.call(Invocation({}, capabilities=ELICITS))).requests
        assert asked is not None
        (name, question), *_ = asked.inputs.items()
        said = {name: {"action": "accept", "content": {"name": "Ada"}}}
        answer = await tool.call(
            Invocation({}, capabilities=ELICITS, responses=said, state=asked.state)
        )

        assert isinstance(question, dict)
        assert question["method"] == "elicitation/create"
        assert answer.value == {"result": "This is Ada"}


def _judged(answer: Answer) -> None:
    """As the use case does. Raises ToolFailure."""
    if answer.requests is not None:
        asking.check(answer.requests.inputs, answer.requests.state, None, "e__introduce")


@every
async def test_a_tool_that_has_to_ask_fails_where_nobody_can_be_asked(opened: Opened) -> None:
    async with opened() as here:
        with pytest.raises(ToolFailure) as caught:
            _judged(await here.call("e__introduce"))

        assert caught.value.reason in {"INPUT_NOT_OFFERED", "MCP_TOOL_ERROR"}
        assert not caught.value.is_targets


@every
async def test_an_answer_of_many_megabytes_is_not_read(opened: Opened) -> None:
    async with opened() as here:
        with pytest.raises(ToolFailure) as caught:
            await here.call("e__large", megabytes=20)
        answer = await here.call("e__add", a=1, b=2)

        assert (caught.value.reason, caught.value.is_targets) == ("TOOL_RESULT_TOO_LARGE", True)
        assert answer.value == {"sum": 3}


@every
async def test_thirty_calls_at_a_time_do_not_mix(opened: Opened) -> None:
    async with opened() as here, asyncio.timeout(20):
        answers = await asyncio.gather(*(here.call("e__add", a=n, b=n) for n in range(30)))

        assert [answer.value for answer in answers] == [{"sum": 2 * n} for n in range(30)]


async def test_a_program_gets_its_own_environment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOL_REGISTRY_SECRET_OTHER", "not-for-programs")
    command = Command(
        PROGRAM.program, PROGRAM.arguments, {"PLAIN": "plain"}, {"TOKEN": "weather-token"}
    )

    async with world(secrets={"WEATHER_TOKEN": "very-secret"}) as here:
        await here.register("e", command)
        value = (await here.call("e__environment")).value

        assert isinstance(value, dict)
        assert value["PLAIN"] == "plain"
        assert value["TOKEN"] == HIDDEN  # It got it, and nobody else sees it.
        assert "TOOL_REGISTRY_SECRET_OTHER" not in value
