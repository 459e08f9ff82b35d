"""Those who listen for changes over MCP."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from runplane.orchestrator.v1 import orchestrator_pb2

from tests.integration.gateway.places import Place, placed
from tests.integration.gateway.rpc import TASKS, error, headers, message

pytestmark = pytest.mark.asyncio(loop_scope="module")

Wire = dict[str, Any]
ID = "io.modelcontextprotocol/subscriptionId"


@asynccontextmanager
async def listener(
    place: Place, wanted: Wire, capabilities: Wire | None = None
) -> AsyncIterator[AsyncIterator[Wire]]:
    """The messages that come."""
    sent = message("subscriptions/listen", {"notifications": wanted}, capabilities)
    async with (
        httpx2.AsyncClient(timeout=5) as http,
        http.stream("POST", place.mcp, json=sent, headers=headers(sent)) as response,
    ):
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers["x-accel-buffering"] == "no"

        async def messages() -> AsyncIterator[Wire]:
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

        yield messages()


async def test_the_first_word_says_what_will_be_told(place: Place) -> None:
    wanted = {
        "toolsListChanged": True,
        "promptsListChanged": False,
        "resourceSubscriptions": ["runplane://tasks/task_1", "test://theirs"],
    }
    async with asyncio.timeout(5), listener(place, wanted) as messages:
        first = await anext(messages)

    assert first["method"] == "notifications/subscriptions/acknowledged"
    assert first["params"]["_meta"] == {ID: 7}
    assert first["params"]["notifications"] == {
        "toolsListChanged": True,
        "resourceSubscriptions": ["runplane://tasks/task_1"],
    }


@pytest.mark.parametrize("kind", ["tools", "prompts", "resources"])
async def test_a_list_that_changes_is_told_to_those_who_want_to_know(
    place: Place, kind: str
) -> None:
    def change() -> None:
        if kind == "tools":
            place.tools.add("new")
        elif kind == "prompts":
            place.imported.prompts["new"] = {}
        else:
            place.imported.resources["test://new"] = {"text": ""}

    async with asyncio.timeout(5), listener(place, {f"{kind}ListChanged": True}) as messages:
        await anext(messages)
        change()
        told = await anext(messages)

    assert told["method"] == f"notifications/{kind}/list_changed"
    assert told["params"]["_meta"] == {ID: 7}


async def test_nobody_is_told_what_they_did_not_ask_for(place: Place) -> None:
    async with asyncio.timeout(5), listener(place, {"promptsListChanged": True}) as messages:
        await anext(messages)
        place.tools.add("new")
        place.imported.resources["test://new"] = {"text": ""}
        told = []
        for name in ("new", "newer"):
            place.imported.prompts[name] = {}
            told.append((await anext(messages))["method"])

    assert told == ["notifications/prompts/list_changed"] * 2


async def test_a_task_that_gets_on_is_a_resource_that_changes(place: Place) -> None:
    request = orchestrator_pb2.InvokeRequest(query="sleep:20000")
    task = await place.behind.stub.CreateTask(request, timeout=5)
    uri = f"runplane://tasks/{task.task_id}"

    async with asyncio.timeout(5), listener(place, {"resourceSubscriptions": [uri]}) as messages:
        await anext(messages)
        cancel = orchestrator_pb2.CancelTaskRequest(task_id=task.task_id)
        await place.behind.stub.CancelTask(cancel, timeout=5)
        told = await anext(messages)

    assert (told["method"], told["params"]["uri"]) == ("notifications/resources/updated", uri)


async def test_those_who_wait_for_a_task_are_told_its_status(place: Place) -> None:
    request = orchestrator_pb2.InvokeRequest(query="sleep:20000")
    task = await place.behind.stub.CreateTask(request, timeout=5)
    wanted = {"taskIds": [task.task_id]}

    async with asyncio.timeout(5), listener(place, wanted, TASKS) as messages:
        first = await anext(messages)
        cancel = orchestrator_pb2.CancelTaskRequest(task_id=task.task_id)
        await place.behind.stub.CancelTask(cancel, timeout=5)
        told = await anext(messages)

    assert first["params"]["notifications"] == wanted
    assert told["method"] == "notifications/tasks"
    assert (told["params"]["taskId"], told["params"]["status"]) == (task.task_id, "cancelled")
    assert told["params"]["_meta"] == {ID: 7}


async def test_tasks_are_told_to_those_who_know_tasks(place: Place) -> None:
    wanted = {"notifications": {"taskIds": ["task_1"]}}

    status, said = await error(place, "subscriptions/listen", wanted)

    assert (status, said["code"]) == (400, -32021)
    assert said["data"] == {"requiredCapabilities": TASKS}


async def test_a_tenant_has_a_share_of_the_listeners_and_no_more() -> None:
    async with (
        asyncio.timeout(10),
        placed(mcp={"max_listeners": 4}) as small,
        listener(small, {"toolsListChanged": True}) as messages,
    ):
        await anext(messages)
        _, said = await error(small, "subscriptions/listen", {"notifications": {}})

    assert (said["code"], said["data"]["error_code"]) == (-32010, "LISTENERS_TOO_MANY")


async def test_an_edge_that_stops_ends_the_stream_with_its_result() -> None:
    async with asyncio.timeout(10):
        async with placed() as stopping:
            sent = message("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
            http = httpx2.AsyncClient(timeout=5)
            streaming = http.stream("POST", stopping.mcp, json=sent, headers=headers(sent))
            response = await streaming.__aenter__()
            lines = response.aiter_lines()
            await anext(lines)
        rest = [line async for line in lines]
        await http.aclose()

    (last,) = (line for line in rest if '"result"' in line)
    found = json.loads(last.removeprefix("data: "))
    assert (found["id"], found["result"]["_meta"][ID]) == (7, 7)
