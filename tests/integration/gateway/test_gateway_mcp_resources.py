"""Resources, prompts and completion over MCP."""

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from mcp.shared.exceptions import MCPError
from mcp_types import (
    ElicitResult,
    PromptReference,
    ResourceTemplateReference,
    TextResourceContents,
)
from runplane.orchestrator.v1 import orchestrator_pb2

from tests.integration.gateway.places import Place, client
from tests.integration.gateway.rpc import error, result

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODES = ["2026-07-28", "legacy"]
EVENTS = "runplane://tasks/{task_id}/events{?after_sequence}"


async def ran(place: Place, query: str = "Hello") -> str:
    """A task that is over."""
    request = orchestrator_pb2.InvokeRequest(query=query)
    return str((await place.behind.stub.Invoke(request, timeout=5)).task_id)


async def asked(context: Any, params: Any) -> ElicitResult:
    """A client's user."""
    return ElicitResult(action="accept", content={"name": "Ann"})


async def listed(place: Place, mode: str = MODES[0]) -> list[Any]:
    """All resources, over all pages."""
    found: list[Any] = []
    async with client(place, mode) as it:
        page = await it.list_resources()
        while True:
            found.extend(page.resources)
            if not page.next_cursor:
                return found
            page = await it.list_resources(cursor=page.next_cursor)


def text(contents: list[Any]) -> str:
    """The text of a resource of one part."""
    (content,) = contents
    assert isinstance(content, TextResourceContents)
    return content.text


@pytest.mark.parametrize("mode", MODES)
async def test_resources_are_those_of_servers_and_then_tasks_with_their_logs(
    place: Place, mode: str
) -> None:
    for name in "cab":
        place.imported.resources[f"test://{name}"] = {"text": name}
    task_id = await ran(place)

    uris = [each.uri for each in await listed(place, mode)]

    assert uris[:3] == ["test://a", "test://b", "test://c"]
    assert uris[3:5] == [f"runplane://tasks/{task_id}", f"runplane://tasks/{task_id}/events"]
    assert len(set(uris)) == len(uris)


@pytest.mark.parametrize("mode", MODES)
async def test_templates_are_ours_and_those_of_servers(place: Place, mode: str) -> None:
    async with client(place, mode) as it:
        templates = (await it.list_resource_templates()).resource_templates

    assert [each.uri_template for each in templates] == [
        "runplane://tasks/{task_id}",
        EVENTS,
        "test://{name}",
    ]


@pytest.mark.parametrize("mode", MODES)
async def test_a_task_is_read_as_it_stands(place: Place, mode: str) -> None:
    task_id = await ran(place, "What?")

    async with client(place, mode) as it:
        read = await it.read_resource(f"runplane://tasks/{task_id}")

    task = json.loads(text(read.contents))
    assert (task["task_id"], task["status"], task["query"]) == (task_id, "completed", "What?")


async def test_a_task_s_log_is_read_line_by_line(place: Place) -> None:
    task_id = await ran(place)
    uri = f"runplane://tasks/{task_id}/events"

    async with client(place) as it:
        whole = text((await it.read_resource(uri)).contents).splitlines()
        rest = text((await it.read_resource(f"{uri}?after_sequence=1")).contents).splitlines()

    events = [json.loads(line) for line in whole]
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert (events[0]["type"], events[-1]["type"]) == ("task_start", "task_complete")
    assert rest == whole[1:]


async def test_the_log_of_a_task_that_goes_on_is_what_there_is_so_far(place: Place) -> None:
    request = orchestrator_pb2.InvokeRequest(query="sleep:20000")
    task = await place.behind.stub.CreateTask(request, timeout=5)

    async with client(place) as it:
        read = await it.read_resource(f"runplane://tasks/{task.task_id}/events")

    await place.behind.stub.CancelTask(
        orchestrator_pb2.CancelTaskRequest(task_id=task.task_id), timeout=5
    )
    assert json.loads(text(read.contents).splitlines()[0])["type"] == "task_start"


@pytest.mark.parametrize("mode", MODES)
async def test_a_servers_resource_is_read_there(place: Place, mode: str) -> None:
    place.imported.resources["test://a"] = {"mimeType": "text/plain", "text": "an a"}

    async with client(place, mode) as it:
        read = await it.read_resource("test://a")

    assert text(read.contents) == "an a"


@pytest.mark.parametrize(("mode", "code"), [("2026-07-28", -32602), ("legacy", -32002)])
@pytest.mark.parametrize(
    "uri", ["test://nothing", "runplane://tasks/task_nothing", "runplane://elsewhere"]
)
async def test_a_resource_that_is_not_there_is_named(
    place: Place, mode: str, code: int, uri: str
) -> None:
    async with client(place, mode) as it:
        with pytest.raises(MCPError) as caught:
            await it.read_resource(uri)

    assert (caught.value.code, caught.value.data["uri"]) == (code, uri)


async def test_a_resource_may_ask_before_it_is_read(place: Place) -> None:
    place.imported.resources["test://a/asking"] = {"text": "an a"}

    async with client(place, elicitation_callback=asked) as it:
        read = await it.read_resource("test://a/asking")

    assert text(read.contents) == "an a"
    assert "who" in MessageToDict(place.imported.requests[-1].input_responses)


@pytest.mark.parametrize("mode", MODES)
async def test_prompts_are_listed_and_filled_in(place: Place, mode: str) -> None:
    arguments = [{"name": "city", "required": True}]
    place.imported.prompts["demo__weather"] = {"description": "Asks", "arguments": arguments}

    async with client(place, mode) as it:
        (prompt,) = (await it.list_prompts()).prompts
        filled = await it.get_prompt("demo__weather", {"city": "Oslo"})

    assert (prompt.name, prompt.arguments[0].name) == ("demo__weather", "city")
    assert (filled.description, filled.messages[0].role) == ("A prompt", "user")
    assert filled.messages[0].content.text == "{'city': 'Oslo'}"  # type: ignore[union-attr]


async def test_a_prompt_may_ask_before_it_is_filled_in(place: Place) -> None:
    place.imported.prompts["demo__asking"] = {}

    async with client(place, elicitation_callback=asked) as it:
        filled = await it.get_prompt("demo__asking")

    assert "Ann" in filled.messages[0].content.text  # type: ignore[union-attr]
    assert place.imported.requests[-1].request_state == "state"


@pytest.mark.parametrize("mode", MODES)
async def test_a_prompt_that_is_not_there_is_an_invalid_parameter(place: Place, mode: str) -> None:
    async with client(place, mode) as it:
        with pytest.raises(MCPError) as caught:
            await it.get_prompt("nothing")

    assert (caught.value.code, caught.value.data["error_code"]) == (-32602, "PROMPT_NOT_FOUND")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("ref", "field"),
    [
        (PromptReference(name="demo__weather"), "prompt"),
        (ResourceTemplateReference(uri="test://{name}"), "uri_template"),
    ],
    ids=["prompt", "template"],
)
async def test_values_are_suggested_by_the_server_that_knows(
    place: Place, mode: str, ref: Any, field: str
) -> None:
    async with client(place, mode) as it:
        argument = {"name": "city", "value": "par"}
        found = await it.complete(ref, argument, context_arguments={"country": "fr"})

    (request,) = place.imported.requests
    assert found.completion.values == ["paris", "party"]
    assert (found.completion.total, found.completion.has_more) == (2, False)
    assert request.WhichOneof("reference") == field
    assert (request.argument, dict(request.context)) == ("city", {"country": "fr"})


async def test_ids_of_tasks_are_suggested_by_the_edge(place: Place) -> None:
    task_id = await ran(place)
    ref = ResourceTemplateReference(uri=EVENTS)

    async with client(place) as it:
        ids = (await it.complete(ref, {"name": "task_id", "value": task_id[:8]})).completion.values
        none = (await it.complete(ref, {"name": "after_sequence", "value": ""})).completion.values

    assert task_id in ids
    assert not none


@pytest.mark.parametrize("method", ["resources/list", "resources/templates/list", "prompts/list"])
async def test_a_cursor_that_no_list_gave_is_an_invalid_parameter(
    place: Place, method: str
) -> None:
    status, said = await error(place, method, {"cursor": "e30"})

    assert (status, said["code"]) == (400, -32602)


@pytest.mark.parametrize(
    "method",
    [
        "tools/list",
        "resources/list",
        "resources/templates/list",
        "prompts/list",
        "server/discover",
    ],
)
async def test_lists_say_how_long_they_hold_and_for_whom(place: Place, method: str) -> None:
    found = await result(place, method)

    assert found["ttlMs"] >= 1_000
    assert (found["cacheScope"], found["resultType"]) == ("private", "complete")
    assert found["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "runplane"
