"""Agents as MCP tools."""

import asyncio

import pytest
from google.protobuf.json_format import MessageToDict
from mcp.shared.exceptions import MCPError
from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from tests.integration.gateway.places import Place, client

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_agents_are_listed_as_tools_that_take_a_query(place: Place) -> None:
    await place.agent("listed", description="Knows lists")
    place.tools.add("zoom")
    async with client(place) as it:
        tools = (await it.list_tools()).tools

    names = [tool.name for tool in tools]
    (agent,) = (tool for tool in tools if tool.name == "agent__listed")
    assert names == sorted(names)
    assert agent.description == "Knows lists"
    assert agent.input_schema["required"] == ["query"]
    assert agent.output_schema is not None


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_an_agent_answers_a_query_as_a_tool_does(place: Place, mode: str) -> None:
    name = f"answers-{mode}"
    await place.agent(name)

    async with client(place, mode) as it:
        result = await it.call_tool(f"agent__{name}", {"query": "Hello"})

    answer = result.structured_content
    assert answer["answer"] == result.content[0].text == "Hello"  # type: ignore[union-attr]
    assert answer["task_id"].startswith("task_")
    assert answer["session_id"].startswith("session_")
    assert not result.is_error


async def test_a_conversation_goes_on_by_its_session(place: Place) -> None:
    await place.agent("remembers")

    async with client(place) as it:
        first = await it.call_tool("agent__remembers", {"query": "Hello"})
        session = first.structured_content["session_id"]
        again = {"query": "Again", "session_id": session}
        second = await it.call_tool("agent__remembers", again)

    assert second.structured_content["session_id"] == session


async def test_an_agent_tells_how_it_gets_on(place: Place) -> None:
    place.tools.add("weather")
    await place.agent("busy", tools=["weather"])
    heard: list[tuple[float, str | None]] = []

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        heard.append((done, message))

    async with client(place) as it:
        query = {"query": "tool:weather {}"}
        await it.call_tool("agent__busy", query, progress_callback=on_progress)

    numbers = [number for number, _ in heard]
    said = "\n".join(str(message) for _, message in heard)
    assert numbers == sorted(set(numbers))
    assert "calls weather" in said
    assert "weather answered success" in said


async def test_an_agent_that_fails_is_a_tool_that_failed(place: Place) -> None:
    await place.agent("fails")

    async with client(place) as it:
        result = await it.call_tool("agent__fails", {"query": "fail"})

    assert result.is_error
    assert result.content[0].text.startswith("ENGINE_FAILED: ")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "given", [{}, {"query": 7}, {"query": "Hi", "tools": ["weather"]}, {"query": ""}]
)
async def test_what_an_agent_does_not_take_is_told(place: Place, given: dict[str, object]) -> None:
    await place.agent(f"strict-{len(str(given))}")

    async with client(place) as it:
        result = await it.call_tool(f"agent__strict-{len(str(given))}", given)

    assert result.is_error
    assert result.content[0].text.startswith("INVALID_REQUEST: ")  # type: ignore[union-attr]


async def test_an_agent_that_is_not_there_is_no_tool(place: Place) -> None:
    async with client(place) as it:
        with pytest.raises(MCPError) as caught:
            await it.call_tool("agent__nobody", {"query": "Hi"})

    assert (caught.value.code, caught.value.data["error_code"]) == (-32602, "AGENT_NOT_FOUND")


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_a_client_that_goes_away_cancels_its_task(place: Place, mode: str) -> None:
    name = f"left-{mode}"
    await place.agent(name)
    heard = asyncio.Event()

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        heard.set()

    async with asyncio.timeout(5):
        async with client(place, mode) as it:
            query = {"query": "sleep:30000"}
            call = it.call_tool(f"agent__{name}", query, progress_callback=on_progress)
            calling = asyncio.ensure_future(call)
            await heard.wait()
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling
        listing = pb.ListTasksRequest(filter=f"agent_id = {name}")
        (task,) = (await place.behind.stub.ListTasks(listing, timeout=5)).tasks
        watching = place.behind.stub.WatchTask(pb.WatchTaskRequest(task_id=task.task_id), timeout=5)
        events = [event async for event in watching]

    assert events[-1].status == "canceled"


async def test_an_agent_may_call_the_tools_of_the_registry(place: Place) -> None:
    place.tools.add("weather")
    await place.agent("caller", tools=["weather"])

    async with client(place) as it:
        result = await it.call_tool("agent__caller", {"query": 'tool:weather {"city": "Oslo"}'})

    (called,) = place.tools.called
    assert not result.is_error
    assert MessageToDict(called.request.input) == {"city": "Oslo"}
