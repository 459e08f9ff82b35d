"""Servers that do what none may: each a clear error, and the registry goes on serving."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import psutil
import pytest

from services.chassis.errors import ServiceError, Unavailable
from services.tool_registry.adapters.mcp.bounds import Bounds
from services.tool_registry.domain.server import Asking, Command, State
from services.tool_registry.domain.tool import ToolFailure
from services.tool_registry.ports import Invocation
from tests.integration.tool_registry.liar import (
    TOOL,
    discovered,
    error,
    liar,
    result,
    text,
)
from tests.integration.tool_registry.world import ME, World, eventually, world


def tool(name: str, **members: Any) -> dict[str, Any]:
    return {**TOOL, "name": name, **members}


def program(source: str) -> Command:
    return Command(sys.executable, ("-c", source))


NAME = "token"


async def failure(here: World, name: str = "x__lie", seconds: float = 5) -> ToolFailure:
    async with asyncio.timeout(seconds + 5):
        with pytest.raises(ToolFailure) as caught:
            await here.tool(name).call(Invocation({}, timeout=timedelta(seconds=seconds)))
    return caught.value


async def works(here: World) -> bool:
    """Whether another server of the same registry is served meanwhile."""
    async with liar(tools__call=says({"content": [{"type": "text", "text": "true"}]})) as honest:
        await here.register("honest", honest.url)
        is_right = (await here.call("honest__lie")).value == "true"
        await here.servers.delete(ME, "honest")
    return is_right


def says(answer: dict[str, Any]) -> Callable[..., Awaitable[None]]:
    async def write(writer: asyncio.StreamWriter, request: Any) -> None:
        said = {"jsonrpc": "2.0", "id": request, "result": {"resultType": "complete", **answer}}
        text(writer, json.dumps(said).encode())

    return write


async def hang_up(writer: asyncio.StreamWriter, request: Any) -> None:
    text(writer, b'{"jsonrpc": "2.0", "id"', length=1000)
    await writer.drain()


async def hang_up_a_stream(writer: asyncio.StreamWriter, request: Any) -> None:
    text(writer, b"event: message\n", kind="text/event-stream", length=1000)
    await writer.drain()


async def pour(writer: asyncio.StreamWriter, request: Any) -> None:
    text(writer, b'{"jsonrpc": "2.0", "result": "', length=100_000_000)
    for _ in range(100):
        writer.write(b"x" * 1_000_000)
        await writer.drain()


async def pour_a_stream(writer: asyncio.StreamWriter, request: Any) -> None:
    text(writer, b"event: message\ndata: ", kind="text/event-stream", length=100_000_000)
    for _ in range(100):
        writer.write(b"x" * 1_000_000)
        await writer.drain()


async def compress(writer: asyncio.StreamWriter, request: Any) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
    writer.write(b"content-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc")


async def lie_about_the_type(writer: asyncio.StreamWriter, request: Any) -> None:
    text(writer, b"<html>welcome</html>")


async def answer_html(writer: asyncio.StreamWriter, request: Any) -> None:
    text(writer, b"<html>welcome</html>", kind="text/html")


async def refuse(writer: asyncio.StreamWriter, request: Any) -> None:
    text(writer, b"go away", kind="text/plain", status=500)


async def redirect(writer: asyncio.StreamWriter, request: Any) -> None:
    writer.write(b"HTTP/1.1 307 Moved\r\nlocation: http://10.0.0.1/mcp\r\n")
    writer.write(b"content-length: 0\r\n\r\n")


async def claim_to_be_cut(writer: asyncio.StreamWriter, request: Any) -> None:
    said = {"code": -32603, "message": "the answer has more than 8,388,608 bytes"}
    text(writer, json.dumps({"jsonrpc": "2.0", "id": request, "error": said}).encode())


async def accept_only(writer: asyncio.StreamWriter, request: Any) -> None:
    text(writer, b"", status=202)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (pour, "TOOL_RESULT_TOO_LARGE"),
        (pour_a_stream, "TOOL_RESULT_TOO_LARGE"),
        (compress, "MCP_ERROR"),
        (lie_about_the_type, "MCP_ERROR"),
        (answer_html, "MCP_ERROR"),
        (refuse, "MCP_ERROR"),
        (redirect, "MCP_ERROR"),
        (accept_only, "MCP_ERROR"),
        (says({"content": "no blocks"}), "MCP_ANSWER_INVALID"),
        (says({"content": [{"type": "smell"}]}), "MCP_ANSWER_INVALID"),
        (says({"resultType": "task", "content": []}), "MCP_ANSWER_INVALID"),
        (hang_up, "MCP_ERROR"),
        (claim_to_be_cut, "MCP_ERROR"),
    ],
    ids=lambda each: getattr(each, "__name__", each),
)
async def test_an_answer_that_is_none_is_the_servers_fault(answer: Any, reason: str) -> None:
    async with liar(tools__call=answer) as server, world() as here:
        await here.register("x", server.url)
        failed = await failure(here)

        assert (failed.reason, failed.is_targets) == (reason, True)
        assert failed.message.startswith("x__lie")
        assert await works(here)


@pytest.mark.parametrize("status", [401, 429, 502, 503, 504])
async def test_a_server_that_is_not_reached_may_be_tried_again(status: int) -> None:
    async def refuse_all(writer: asyncio.StreamWriter, request: Any) -> None:
        text(writer, b"not now", kind="text/plain", status=status)

    async with liar(tools__call=refuse_all) as server, world() as here:
        await here.register("x", server.url)
        with pytest.raises(Unavailable) as caught:
            await here.call("x__lie")

        assert caught.value.reason == "TOOL_UNAVAILABLE"
        assert f"HTTP {status}" in caught.value.metadata["problem"]


async def test_a_call_whose_headers_do_not_fit_is_sent_again_after_a_look_at_the_tool() -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "x-mcp-header": "City"}},
    }
    seen: list[str] = []

    async def strict(writer: asyncio.StreamWriter, request: Any) -> None:
        seen.append(server.headers[-1].get("mcp-param-city", ""))
        answer = says({"content": []}) if seen[-1] else mismatch
        server.answers["tools/list"] = result(tools=[tool("lie", inputSchema=schema)])
        await answer(writer, request)

    async def mismatch(writer: asyncio.StreamWriter, request: Any) -> None:
        said = {"code": -32020, "message": "no header"}
        body = {"jsonrpc": "2.0", "id": request, "error": said}
        text(writer, json.dumps(body).encode(), status=400)

    async with liar(tools__call=strict) as server, world() as here:
        await here.register("x", server.url)
        answer = await here.call("x__lie", city="paris")

        assert seen == ["", "paris"]
        assert answer.value == {"content": []}


async def test_a_stream_that_breaks_off_may_be_tried_again() -> None:
    async with liar(tools__call=hang_up_a_stream) as server, world() as here:
        await here.register("x", server.url)
        with pytest.raises(Unavailable) as caught:
            await here.call("x__lie")

        assert caught.value.reason == "TOOL_UNAVAILABLE"
        assert "hung up" in caught.value.metadata["problem"]


async def test_a_call_that_never_ends_does_so_when_its_caller_gives_up() -> None:
    released = asyncio.Event()

    async def never(writer: asyncio.StreamWriter, request: Any) -> None:
        await released.wait()

    async with liar(tools__call=never) as server, world() as here:
        await here.register("x", server.url)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await here.call("x__lie")

        assert await works(here)
        released.set()


async def test_an_answer_with_the_secret_in_it_comes_without() -> None:
    answer = says({"content": [{"type": "text", "text": "you sent Bearer open-sesame"}]})

    async with (
        liar(tools__call=answer) as server,
        world(secrets={"TOKEN": "open-sesame"}) as here,
    ):
        await here.register("x", server.url, secret=NAME)
        value = (await here.call("x__lie")).value

        assert server.headers[-1]["authorization"] == "bearer open-sesame"
        assert value == "you sent Bearer [secret]"


async def test_what_cannot_be_a_tool_is_left_out_and_the_rest_is_taken() -> None:
    tools = [
        tool("good"),
        tool("with spaces"),
        tool("x" * 200),
        tool("agent__x"),
        tool("good"),
        tool("none", inputSchema="a text"),
        tool("missing", inputSchema=None),
        tool("wrong", inputSchema={"type": "object", "properties": 3}),
        tool("list", inputSchema={"type": "array"}),
        tool("huge", inputSchema={"type": "object", "description": "x" * 1_000_000}),
        tool("remote", inputSchema={"type": "object", "properties": {"a": {"$ref": "http://x"}}}),
        tool("out", outputSchema={"type": "nonsense"}),
        {"description": "nameless"},
    ]

    async with liar(tools__list=result(tools=tools)) as server, world() as here:
        shown = await here.register("x", server.url)

        assert here.shelf.names() == ["x__agent__x", "x__good"]
        assert shown.seen.state is State.CONNECTED
        assert shown.seen.tool_count == 2
        assert len(shown.seen.skipped) == 11
        assert all(len(each) < 500 for each in shown.seen.skipped)


async def test_what_nobody_sees_is_taken_out_of_what_a_server_says() -> None:
    tools = [tool("a", title="T\u202e\x00", description="say\x1b[2J\n\tit")]
    name = {"io.modelcontextprotocol/serverInfo": {"name": "n\x07", "version": "1\u2066"}}
    about = {**discovered(), "_meta": name}

    async with (
        liar(server__discover=about, tools__list=result(tools=tools)) as server,
        world() as here,
    ):
        seen = (await here.register("x", server.url)).seen

        (kept,) = here.shelf.tools.values()
        assert (kept.definition.title, kept.definition.description) == ("T", "say[2J\n\tit")
        assert (seen.name, seen.version) == ("n", "1")


async def test_of_ten_thousand_tools_a_thousand_are_taken() -> None:
    tools = [tool(f"t{number}") for number in range(10_000)]

    async with liar(tools__list=result(tools=tools)) as server, world() as here:
        shown = await here.register("x", server.url)

        assert shown.seen.tool_count == 1000
        assert any("1000" in each for each in shown.seen.skipped)


async def test_pages_that_go_in_circles_end() -> None:
    def pages(params: Any) -> dict[str, Any]:
        step = {None: "a", "a": "b", "b": "a"}[params.get("cursor")]
        return result(tools=[tool(f"t-{params.get('cursor')}")], nextCursor=step)

    async with liar(tools__list=pages) as server, world() as here:
        shown = await here.register("x", server.url)

        assert shown.seen.tool_count == 3
        assert any("circles" in each for each in shown.seen.skipped)


async def test_pages_without_end_end() -> None:
    def pages(params: Any) -> dict[str, Any]:
        number = int(params.get("cursor") or "0")
        return result(tools=[tool(f"t{number}")], nextCursor=str(number + 1))

    async with liar(tools__list=pages) as server, world() as here:
        shown = await here.register("x", server.url)

        assert shown.seen.tool_count == 100
        assert any("100 pages" in each for each in shown.seen.skipped)


async def test_an_old_protocol_is_told() -> None:
    old = {
        "protocolVersion": "2024-11-05",
        "capabilities": {},
        "serverInfo": {"name": "old", "version": "1"},
    }

    async with (
        liar(server__discover=error(-32601, "what?"), initialize=old) as server,
        world() as here,
    ):
        shown = await here.register("x", server.url)

        assert shown.seen.state is State.UNAVAILABLE
        assert "2024-11-05" in shown.seen.problem


async def test_a_protocol_of_the_future_is_told() -> None:
    async with (
        liar(server__discover=discovered("2031-01-01"), initialize=error(-32601, "gone")) as server,
        world() as here,
    ):
        shown = await here.register("x", server.url)

        assert shown.seen.state is State.UNAVAILABLE
        assert shown.seen.problem


async def test_a_server_that_is_this_suite_itself_is_not_linked() -> None:
    about = discovered()
    about["capabilities"] = {"tools": {}, "extensions": {"dev.runplane/suite": {"id": "me"}}}

    async with liar(server__discover=about) as server, world(suite="me") as here:
        mine = (await here.register("x", server.url)).seen
    async with liar(server__discover=about) as server, world(suite="other") as here:
        others = (await here.register("x", server.url)).seen

    assert (mine.state, others.state) == (State.UNAVAILABLE, State.CONNECTED)
    assert "own /mcp" in mine.problem


async def test_what_another_suite_serves_on_is_left_out() -> None:
    meta = {"_meta": {"dev.runplane/server": "its"}}
    own, its = {"uri": "x://own", "name": "own"}, {"uri": "x://its", "name": "its", **meta}

    async with (
        liar(
            tools__list=result(tools=[TOOL, tool("its", **meta)]),
            resources__list=result(resources=[own, its]),
        ) as server,
        world() as here,
    ):
        shown = await here.register("x", server.url)
        listed = await here.resources.resources("default", after="", size=9)

        assert here.shelf.names() == ["x__lie"]
        assert [each["uri"] for each in listed] == ["x://own"]
        assert len(shown.seen.skipped) == 2


async def test_a_server_that_refuses_the_secret_says_so() -> None:
    async def refuse_all(writer: asyncio.StreamWriter, request: Any) -> None:
        text(writer, b"who are you?", kind="text/plain", status=401)

    async with (
        liar(server__discover=lambda _: refuse_all, initialize=lambda _: refuse_all) as server,
        world() as here,
    ):
        shown = await here.register("x", server.url)

        assert "HTTP 401" in shown.seen.problem


async def test_a_list_that_changes_each_time_is_taken_less_and_less_often() -> None:
    count = 0

    def changing(params: Any) -> dict[str, Any]:
        nonlocal count
        count += 1
        return result(tools=[tool(f"t{count}")], ttlMs=1)

    async with liar(tools__list=changing) as server, world() as here:
        await here.register("x", server.url)
        taken = here.shelf.brought
        for _ in range(3):
            await here.servers.refresh(ME, "x")

        assert here.shelf.brought == taken + 3  # As often as is asked, and no more.
        assert here.shelf.names() == ["x__t4"]


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (Command("/no/such/program"), "cannot be started"),
        (program("raise SystemExit(3)"), "exit code 3"),
        (program("import sys; sys.exit('no licence')"), "no licence"),
        (program("print('hello'); raise SystemExit(0)"), "'hello'"),
        (program("while True: print('garbage')"), "'garbage'"),
        (program("import sys\nwhile True: sys.stderr.write('x' * 1000)"), "in time"),
        (program("import sys\nwhile True: sys.stdout.write('x' * 100000)"), "in time"),
    ],
    ids=["missing", "dies", "complains", "greets", "garbage", "floods-stderr", "one-long-line"],
)
async def test_a_program_that_is_no_server_is_told_as_such(command: Command, problem: str) -> None:
    bounds = Bounds(discover_seconds=0.3, request_seconds=0.5)
    before = set(psutil.Process().children(recursive=True))

    async with asyncio.timeout(30), world(bounds=bounds) as here:
        shown = await here.register("x", command)

        assert shown.seen.state is State.UNAVAILABLE
        assert problem in shown.seen.problem
        assert len(shown.seen.problem) < 1000
    assert set(psutil.Process().children(recursive=True)) <= before


@pytest.mark.parametrize(
    "source",
    [
        "print('x' * 185 + secret + 'y'); raise SystemExit(1)",
        "sys.exit('x' * 195 + secret)",
        "sys.exit(secret * 100)",
        "sys.exit('é' + secret * 99 + secret[:20])",
    ],
    ids=["garbage", "last-words", "long-last-words", "cut-last-words"],
)
async def test_what_a_program_says_last_is_cut_after_its_secrets_are_out(source: str) -> None:
    secret = "open-sesame-0123456789-0123456789"  # noqa: S105 - a test's
    begin = "import os, sys; secret = os.environ['TOKEN']; "
    command = Command(sys.executable, ("-c", begin + source), secret_environment={"TOKEN": NAME})

    async with asyncio.timeout(30), world(secrets={"TOKEN": secret}) as here:
        problem = (await here.register("x", command)).seen.problem

    assert problem
    assert not any(secret[at : at + 8] in problem for at in range(15))


async def test_nothing_of_a_program_is_left_when_it_is_let_go_of() -> None:
    stubborn = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "time.sleep(600)"
    )
    before = set(psutil.Process().children(recursive=True))

    async with world() as here:
        registering = asyncio.create_task(here.register("x", program(stubborn)))

        async def has_begun() -> bool:
            return len(set(psutil.Process().children(recursive=True)) - before) == 2

        await eventually(has_begun)
        registering.cancel()

    assert not [each for each in psutil.Process().children(recursive=True) if each not in before]


async def test_a_resource_of_many_megabytes_is_not_read() -> None:
    listed = result(resources=[{"uri": "x://y", "name": "y"}])

    async with (
        liar(resources__list=listed, resources__read=pour) as server,
        world() as here,
    ):
        await here.register("x", server.url)
        with pytest.raises(ServiceError) as caught:
            await here.resources.read("default", "x://y", "", Asking())

        assert (caught.value.code, caught.value.reason) == (
            "RESOURCE_EXHAUSTED",
            "RESOURCE_TOO_LARGE",
        )


async def test_items_that_are_none_are_left_out_of_the_lists() -> None:
    resources = [
        {"uri": "x://good", "name": "good"},
        {"uri": "x://good", "name": "again"},
        {"uri": "", "name": "empty"},
        {"uri": "x://big", "name": "big", "description": "x" * 100_000},
        {"name": "without"},
    ]

    async with liar(resources__list=result(resources=resources)) as server, world() as here:
        shown = await here.register("x", server.url)
        listed = await here.resources.resources("default", after="", size=10)

        assert [each["uri"] for each in listed] == ["x://good"]
        assert len(shown.seen.skipped) == 4
