"""Resources and prompts of MCP servers, served on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio

from services.chassis.errors import ServiceError
from services.tool_registry.adapters.serverstore import EventStoreServers
from services.tool_registry.app import utc_now
from services.tool_registry.domain.server import Asking, Command, Reference, Server, State
from tests.integration.tool_registry.liar import liar, result
from tests.integration.tool_registry.mcp_server import everything, over_http
from tests.integration.tool_registry.world import ME, World, world

pytestmark = pytest.mark.asyncio(loop_scope="module")

T = "default"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here() -> AsyncIterator[World]:
    """Two servers with the same things, of which the second keeps its names."""
    async with (
        over_http(everything("one")) as one,
        over_http(everything("two"), is_old=True) as two,
        world() as opened,
    ):
        await opened.register("a", one)
        await opened.register("b", two, keeps_names=True)
        yield opened


async def refused(asking: object) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await asking  # type: ignore[misc]
    return caught.value


async def test_resources_are_listed_once_with_their_server(here: World) -> None:
    first = await here.resources.resources(T, after="", size=1)
    rest = await here.resources.resources(T, after="notes://first", size=9)

    assert [each["uri"] for each in (*first, *rest)] == ["notes://first", "notes://large"]
    assert first[0]["_meta"] == {"dev.runplane/server": "a"}


async def test_templates_are_listed(here: World) -> None:
    found = await here.resources.templates(T, after="", size=9)

    assert [each["uriTemplate"] for each in found] == ["notes://{number}/text"]


async def test_prompts_have_the_names_that_they_are_asked_for_by(here: World) -> None:
    found = await here.resources.prompts(T, after="", size=9)

    assert [each["name"] for each in found] == ["a__summary", "summary"]


@pytest.mark.parametrize("server", ["", "a", "b"])
async def test_a_resource_is_read(here: World, server: str) -> None:
    reply = await here.resources.read(T, "notes://first", server, Asking())

    assert reply.result["contents"] == [
        {"uri": "notes://first", "mimeType": "text/plain", "text": "one"}
    ]


async def test_a_resource_of_a_template_is_read(here: World) -> None:
    reply = await here.resources.read(T, "notes://7/text", "", Asking())

    assert "note 7" in str(reply.result["contents"])


@pytest.mark.parametrize(("uri", "server"), [("notes://none", "a"), ("notes://none", "b")])
async def test_a_resource_that_is_not_there_is_not_found(
    here: World, uri: str, server: str
) -> None:
    error = await refused(here.resources.read(T, uri, server, Asking()))

    assert (error.code, error.reason) == ("NOT_FOUND", "RESOURCE_NOT_FOUND")


async def test_a_resource_of_nobody_is_not_found(here: World) -> None:
    error = await refused(here.resources.read(T, "other://x", "", Asking()))

    assert (error.code, error.reason) == ("NOT_FOUND", "RESOURCE_NOT_FOUND")


async def test_a_resource_of_a_server_that_is_not_there_is_not_found(here: World) -> None:
    error = await refused(here.resources.read(T, "notes://first", "c", Asking()))

    assert error.reason == "MCP_SERVER_NOT_FOUND"


async def test_a_resource_that_is_too_large_is_not_sent_on(here: World) -> None:
    error = await refused(here.resources.read(T, "notes://large", "", Asking()))

    assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "RESOURCE_TOO_LARGE")


@pytest.mark.parametrize("name", ["a__summary", "summary"])
async def test_a_prompt_is_filled_in(here: World, name: str) -> None:
    reply = await here.resources.prompt(T, name, {"topic": "birds", "style": "long"}, Asking())

    assert "Summarise birds, long." in str(reply.result["messages"])


async def test_a_prompt_without_what_it_needs_is_refused(here: World) -> None:
    error = await refused(here.resources.prompt(T, "summary", {}, Asking()))

    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "PROMPT_ARGUMENTS_INVALID")
    assert error.metadata["field"] == "arguments.topic"


async def test_a_prompt_that_is_not_there_is_not_found(here: World) -> None:
    error = await refused(here.resources.prompt(T, "a__nothing", {}, Asking()))

    assert (error.code, error.reason) == ("NOT_FOUND", "PROMPT_NOT_FOUND")


@pytest.mark.parametrize(
    "reference", [Reference("a__summary"), Reference(template="notes://{number}/text")]
)
async def test_values_are_suggested(here: World, reference: Reference) -> None:
    found = await here.resources.complete(T, reference, ("style", "sh"), {"topic": "birds"})

    assert (found.values, found.total, found.has_more) == (("short",), 1, False)


async def test_a_server_that_suggests_nothing_suggests_nothing() -> None:
    prompts = result(prompts=[{"name": "p"}])

    async with liar(prompts__list=prompts) as server, world() as opened:
        await opened.register("x", server.url)
        found = await opened.resources.complete(T, Reference("x__p"), ("a", ""), {})

        assert found.values == ()


async def test_a_prompt_whose_name_is_taken_is_told_as_such() -> None:
    prompts = result(prompts=[{"name": "p"}])

    async with (
        liar(prompts__list=prompts) as one,
        liar(prompts__list=prompts) as two,
        world() as opened,
    ):
        await opened.register("a", one.url, keeps_names=True)
        shown = await opened.register("b", two.url, keeps_names=True)

        assert "prompt p: the server a has one of this name" in shown.seen.skipped


async def test_a_server_that_is_gone_is_told_as_such() -> None:
    listed = result(resources=[{"uri": "x://y", "name": "y"}])

    async with world() as opened:
        async with liar(resources__list=listed) as server:
            await opened.register("x", server.url)
        error = await refused(opened.resources.read(T, "x://y", "", Asking()))

    assert (error.code, error.reason) == ("UNAVAILABLE", "MCP_SERVER_UNAVAILABLE")


async def test_a_server_that_says_nothing_holds_up_no_list() -> None:
    silent = Server("silent", command=Command("/bin/sleep", ("1000",)), create_time=utc_now())
    listed = result(resources=[{"uri": "x://y", "name": "y"}])

    async with world() as opened, liar(resources__list=listed) as server:
        await EventStoreServers(opened.store).add(T, silent)
        await opened.register("x", server.url)
        clock = asyncio.get_running_loop().time
        began = clock()
        first = await opened.resources.resources(T, after="", size=9)
        took = clock() - began

    assert [each["uri"] for each in first] == ["x://y"]
    assert took < 2  # It is tried for half a minute.


async def test_a_resource_is_read_where_there_is_somebody_to_read_it() -> None:
    listed = result(resources=[{"uri": "x://y", "name": "y"}])
    held = result(contents=[{"uri": "x://y", "text": "here"}])

    async with world() as opened, liar(resources__list=listed, resources__read=held) as up:
        async with liar(resources__list=listed) as down:
            await opened.register("a", down.url)
        await opened.register("b", up.url)
        with suppress(ServiceError):
            await opened.servers.refresh(ME, "a")
        await opened.until_state("a", State.UNAVAILABLE)
        reply = await opened.resources.read(T, "x://y", "", Asking())

    assert reply.result["contents"] == [{"uri": "x://y", "text": "here"}]
