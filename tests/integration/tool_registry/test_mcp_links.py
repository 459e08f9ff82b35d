"""Links to MCP servers: how they begin, break, come back and end."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from services.chassis.egress.addresses import Allowed
from services.chassis.egress.client import Egress
from services.chassis.errors import ResourceExhausted, ServiceError, Unavailable
from services.chassis.eventlog import sqlite
from services.tool_registry.adapters.mcp.bounds import Bounds
from services.tool_registry.adapters.serverstore import EventStoreServers
from services.tool_registry.app import utc_now
from services.tool_registry.domain.caller import Caller
from services.tool_registry.domain.server import Command, Server, State
from services.tool_registry.ports import Invocation
from services.tool_registry.usecases.servers import Rules, Servers
from tests.integration.tool_registry.liar import TOOL, liar, result, text
from tests.integration.tool_registry.mcp_server import everything, over_http
from tests.integration.tool_registry.world import ME, Shelf, World, eventually, world
from tests.servers.ports import free

PROGRAM = Command(sys.executable, (str(Path(__file__).with_name("mcp_server.py")),))


@asynccontextmanager
async def two_processes() -> AsyncIterator[tuple[str, World, World]]:
    """A server's URL, and two processes with the same store."""
    async with (
        over_http(everything()) as url,
        world() as one,
        world(store=one.store, shelf=one.shelf) as other,
    ):
        yield url, one, other


async def refused(here: World, server: Server) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await here.servers.register(server, ME)
    return caught.value


NAME = "weather-key"


def child_of_this() -> psutil.Process:
    """The server's program, which is a child of this process."""
    (script,) = PROGRAM.arguments
    (child,) = (each for each in psutil.Process().children() if script in each.cmdline())
    return child


def killed() -> None:
    """End the server's program."""
    os.kill(child_of_this().pid, signal.SIGKILL)


async def test_a_program_that_dies_is_started_again() -> None:
    async with world() as here:
        await here.register("e", PROGRAM)
        tool = here.tool("e__add")
        killed()
        down = await here.until_state("e", State.UNAVAILABLE)
        why = tool.unavailable
        with pytest.raises(Unavailable) as caught:
            await here.call("e__add", a=1, b=2)
        await here.until_state("e", State.CONNECTED)

        assert "signal 9" in down.seen.problem
        assert "signal 9" in why
        assert caught.value.reason == "TOOL_UNAVAILABLE"
        assert caught.value.retry_after is not None
        assert tool.unavailable == ""
        assert (await here.call("e__add", a=1, b=2)).value == {"sum": 3}
        assert here.shelf.names() == sorted(here.shelf.names())


async def test_a_program_that_dies_fails_the_calls_under_way() -> None:
    async with world() as here:
        await here.register("e", PROGRAM)
        call = asyncio.create_task(here.call("e__wait"))

        async def has_begun() -> bool:
            return (await here.call("e__waits")).value == {"result": ["started"]}

        await eventually(has_begun)
        killed()
        with pytest.raises(Unavailable) as caught:
            await call

        assert caught.value.reason == "TOOL_UNAVAILABLE"


@pytest.mark.parametrize("is_old", [False, True], ids=["new", "old"])
async def test_a_server_over_http_that_dies_is_reached_again(is_old: bool) -> None:
    async with world() as here:
        port = free()
        async with over_http(everything(), port=port, is_old=is_old) as url:
            await here.register("e", url)
        with pytest.raises(Unavailable):
            await here.call("e__add", a=1, b=2)
        down = await here.until_state("e", State.UNAVAILABLE)
        unavailable = here.tool("e__add").unavailable
        async with over_http(everything(), port=port, is_old=is_old):
            await here.until_state("e", State.CONNECTED)
            answer = await here.call("e__add", a=1, b=2)

        assert "nobody answers there" in down.seen.problem
        assert unavailable
        assert down.seen.tool_count == len(here.shelf.names())
        assert answer.value == {"sum": 3}


async def test_a_server_that_is_not_there_is_registered_and_reached_later() -> None:
    port = free()
    async with world() as here:
        shown = await here.register("e", f"http://127.0.0.1:{port}/mcp")
        async with over_http(everything(), port=port):
            later = await here.until_state("e", State.CONNECTED)

        assert shown.seen.state is State.UNAVAILABLE
        assert later.seen.tool_count > 0


async def test_a_server_that_is_just_starting_is_not_taken_for_an_old_one() -> None:
    async def hang_up(writer: asyncio.StreamWriter, request: object) -> None:
        server.answers.pop("server/discover")
        writer.close()

    old = {
        "protocolVersion": "2025-11-25",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "old", "version": "1"},
    }
    async with liar(initialize=old) as server, world() as here:
        server.answers["server/discover"] = lambda params: hang_up
        await here.register("x", server.url)
        shown = await here.until_state("x", State.CONNECTED)

        assert shown.seen.protocol_version == "2026-07-28"


@pytest.mark.parametrize("is_old", [False, True], ids=["new", "old"])
async def test_a_list_that_changes_is_taken_again(is_old: bool) -> None:
    bounds = Bounds(ttl_least=0.2)

    async with over_http(everything(), is_old=is_old) as url, world(bounds=bounds) as here:
        await here.register("e", url)
        await here.call("e__learn")
        await here.until("e", lambda shown: "e__learned" in here.shelf.names())

        assert (await here.call("e__learned")).value == {"result": "learned"}


async def test_a_list_is_taken_again_when_it_is_too_old() -> None:
    brief, bounds = result(tools=[TOOL], ttlMs=100), Bounds(ttl_least=0.1)

    async with liar(tools__list=brief) as server, world(bounds=bounds) as here:
        await here.register("x", server.url)
        server.answers["tools/list"] = result(tools=[{**TOOL, "name": "other"}], ttlMs=100)

        await here.until("x", lambda shown: here.shelf.names() == ["x__other"])


async def test_lists_are_taken_at_once_when_somebody_asks() -> None:
    async with liar() as server, world() as here:
        await here.register("x", server.url)
        server.answers["tools/list"] = result(tools=[{**TOOL, "name": "other"}])
        shown = await here.servers.refresh(ME, "x")

        assert here.shelf.names() == ["x__other"]
        assert shown.seen.refresh_time is not None


async def test_a_refresh_of_a_server_that_is_gone_fails() -> None:
    async with world() as here:
        async with liar() as server:
            await here.register("x", server.url)
        with pytest.raises(Unavailable) as caught:
            await here.servers.refresh(ME, "x")

        assert caught.value.reason == "MCP_SERVER_UNAVAILABLE"


async def test_a_deleted_server_is_hung_up_and_its_tools_are_taken_away() -> None:
    async with world() as here:
        await here.register("e", PROGRAM)
        child = child_of_this()
        await here.servers.delete(ME, "e")

        async def is_gone() -> bool:
            return not child.is_running() or child.status() == psutil.STATUS_ZOMBIE

        await eventually(is_gone)

        assert here.shelf.names() == []
        with pytest.raises(ServiceError) as caught:
            await here.servers.get(ME, "e")
        assert caught.value.reason == "MCP_SERVER_NOT_FOUND"


async def test_registrations_outlive_the_process(tmp_path: Path) -> None:
    shelf = Shelf()
    async with over_http(everything()) as url:
        async with sqlite.opened(tmp_path / "tools.db") as store, world(store=store) as here:
            await here.register("e", url, tags=("sums",), timeout=timedelta(seconds=7))
        async with (
            sqlite.opened(tmp_path / "tools.db") as store,
            world(store=store, shelf=shelf) as here,
        ):
            shown = await here.until_state("e", State.CONNECTED)

    assert (shown.server.url, shown.server.tags) == (url, ("sums",))
    assert shown.server.timeout == timedelta(seconds=7)
    assert "e__add" in shelf.names()


async def test_another_process_learns_of_a_server_when_its_tool_is_called() -> None:
    async with two_processes() as (url, one, other):
        await one.register("e", url)
        answer = await other.call("e__add", a=1, b=2)

    assert answer.value == {"sum": 3}


async def test_another_process_brings_nothing_back_of_a_deleted_server() -> None:
    async with two_processes() as (url, one, other):
        await one.register("e", url)
        await other.call("e__add", a=1, b=2)
        await one.servers.delete(ME, "e")
        with pytest.raises(ServiceError):
            await other.links.refresh("default", "e")
        names = one.shelf.names()

    assert names == []


async def test_tenants_see_their_own_servers_only() -> None:
    other = Caller("other", "somebody")

    async with over_http(everything()) as url, world() as here:
        await here.register("e", url)
        with pytest.raises(ServiceError) as caught:
            await here.servers.get(other, "e")
        await here.servers.register(Server("e", url), other)
        answer = await here.tool("e__add", "other").call(Invocation({"a": 1, "b": 1}))

        assert caught.value.reason == "MCP_SERVER_NOT_FOUND"
        assert here.shelf.names("other") == here.shelf.names()
        assert answer.value == {"sum": 2}
        assert list(await here.links.lists("nobody")) == []


async def test_names_may_be_kept_and_those_that_are_taken_are_left_out() -> None:
    async with liar() as one, liar() as two, world() as here:
        await here.register("a", one.url, keeps_names=True)
        shown = await here.register("b", two.url, keeps_names=True)

        assert here.shelf.names() == ["lie"]
        assert here.shelf.tools["default", "lie"].source == "mcp:a"
        assert any("lie" in each and "taken" in each for each in shown.seen.skipped)


async def test_a_registry_that_takes_no_tools_is_told_as_such() -> None:
    shelf = Shelf(error=Unavailable("EVENT_STORE_UNAVAILABLE", "the store is away"))

    async with liar() as server, world(shelf=shelf) as here:
        shown = await here.register("x", server.url)

        assert shown.seen.state is State.CONNECTED
        assert "the store is away" in shown.seen.skipped[0]


async def test_programs_are_started_only_where_that_is_allowed() -> None:
    async with world(has_commands=False) as here:
        error = await refused(here, Server("e", command=PROGRAM))

    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "MCP_STDIO_OFF")


async def test_addresses_that_are_not_called_are_refused() -> None:
    async with world(egress=Egress(Allowed.parsed(""))) as here:
        error = await refused(here, Server("e", "http://127.0.0.1:9/mcp"))

    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "TARGET_REFUSED")
    assert error.metadata["field"] == "server.url"


async def test_an_address_that_cannot_be_checked_is_not_taken() -> None:
    async def check_url(url: str) -> None:
        raise ResourceExhausted("TOOLS_OVERLOADED", "not now")

    async with world() as here:
        store = EventStoreServers(here.store)
        rules = Rules(has_commands=True, check_url=check_url)
        servers = Servers(store, here.links, here.shelf, rules, utc_now)
        with pytest.raises(ResourceExhausted):
            await servers.register(Server("e", "http://127.0.0.1:9/mcp"), ME)

        assert await store.page(ME.tenant, after="", limit=10) == []


async def test_a_server_that_is_changed_is_linked_anew_and_its_tools_follow() -> None:
    other = result(tools=[{**TOOL, "name": "other"}])

    async with liar() as one, liar(tools__list=other) as two, world() as here:
        await here.register("x", one.url, tags=("first",))
        shown = await here.servers.update(ME, "x", Server("", two.url), ["url"])

        assert (shown.seen.state, shown.server.tags) == (State.CONNECTED, ("first",))
        assert here.shelf.names() == ["x__other"]


async def test_another_process_follows_a_changed_server_before_it_looks_again() -> None:
    other = result(tools=[{**TOOL, "name": "other"}])

    async with liar(tools__list=other) as two, two_processes() as (url, one, there):
        await one.register("x", url)
        await there.call("x__add", a=1, b=2)
        await one.servers.update(ME, "x", Server("", two.url), ["url"])
        with pytest.raises(Unavailable):
            await there.links.refresh("default", "x")
        await there.until("x", lambda shown: two.asked.count("tools/list") == 2)
        shown = await there.until_state("x", State.CONNECTED)

    assert shown.server.url == two.url
    assert one.shelf.names() == ["x__other"]


async def test_a_change_that_is_none_leaves_the_link_as_it_is() -> None:
    async with liar() as server, world() as here:
        await here.register("x", server.url)
        asked = len(server.asked)
        await here.servers.update(ME, "x", Server("x", server.url), ["url", "tags"])

        assert len(server.asked) == asked


async def test_nobody_waits_for_a_link_that_has_let_go() -> None:
    async with two_processes() as (url, one, other):
        await one.register("e", url)
        await other.call("e__add", a=1, b=2)
        await EventStoreServers(one.store).remove("default", "e", utc_now())
        link = other.links._held["default", "e"].link
        async with asyncio.timeout(5):
            for _ in range(2):
                with pytest.raises(Unavailable):
                    await link.refresh()


async def test_a_server_that_is_changed_and_changed_back_is_linked_again() -> None:
    async with liar() as server, two_processes() as (_, one, other):
        await one.register("x", server.url)
        await other.links.refresh("default", "x")
        link = other.links._held["default", "x"].link
        await one.servers.update(ME, "x", Server("", tags=("a",)), ["tags"])
        with pytest.raises(Unavailable):
            await link.refresh()
        await one.servers.update(ME, "x", Server(""), ["tags"])
        await other.until_state("x", State.CONNECTED)

        assert other.links._held["default", "x"].link is not link


async def test_a_namespace_is_taken_once() -> None:
    async with liar() as server, world() as here:
        await here.register("x", server.url)
        error = await refused(here, Server("x", server.url))

    assert (error.code, error.reason) == ("ALREADY_EXISTS", "MCP_SERVER_ALREADY_EXISTS")


async def test_a_secret_that_was_replaced_is_read_again() -> None:
    secrets = {"WEATHER_KEY": "old-secret"}

    async def refuse(writer: asyncio.StreamWriter, request: object) -> None:
        text(writer, b"who are you?", kind="text/plain", status=401)

    async with liar(tools__call=refuse) as server, world(secrets=secrets) as here:
        await here.register("x", server.url, secret=NAME)
        secrets["WEATHER_KEY"] = "new-secret"
        server.answers["tools/list"] = server.answers["server/discover"] = {"__error__": {}}
        with pytest.raises(Unavailable):
            await here.call("x__lie")
        await here.until_state("x", State.UNAVAILABLE)
        del server.answers["tools/list"], server.answers["server/discover"]
        await here.until_state("x", State.CONNECTED)

        assert server.headers[-1]["authorization"] == "bearer new-secret"


async def test_a_missing_secret_is_told_by_its_name() -> None:
    async with liar() as server, world() as here:
        shown = await here.register("x", server.url, secret=NAME)

    assert shown.seen.state is State.UNAVAILABLE
    assert "weather-key" in shown.seen.problem


async def test_a_tenant_has_so_many_servers_at_most() -> None:
    async with liar() as server, world(most_servers=1) as here:
        await here.register("a", server.url)
        error = await refused(here, Server("b", server.url))

    assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_SERVERS")


async def test_no_more_servers_are_registered_at_once_either() -> None:
    async with (
        liar() as server,
        world(most_servers=3) as here,
        world(store=here.store, most_servers=3) as there,
    ):
        both = (("a", here), ("b", there))
        asked = [one.register(f"{key}{n}", server.url) for n in range(5) for key, one in both]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        kept = await here.servers.page(tenant="default", after="", limit=20)

    refusals = [each for each in outcomes if isinstance(each, ServiceError)]
    assert {each.reason for each in refusals} == {"TOO_MANY_SERVERS"}
    assert len(kept) == len(outcomes) - len(refusals) <= 3
