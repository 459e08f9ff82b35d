"""Health, start and stop."""

import asyncio
import os
import signal
import sys
from datetime import timedelta

import httpx2
import pytest

from gateway.app import running
from gateway.settings import Settings
from services.chassis.settings import ClientSettings
from tests.integration.gateway.fakes import Script, Suite, suite
from tests.integration.gateway.wire import request, wire

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOWHERE = ClientSettings(target="127.0.0.1:1")


def client(edge: Suite) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=f"http://{edge.edge.address}", timeout=5)


async def test_the_edge_says_what_it_is_and_that_it_lives(http: httpx2.AsyncClient) -> None:
    about, alive = await http.get("/"), await http.get("/healthz")

    assert about.json()["name"] == "runplane"
    assert "POST /v1/agent/invoke" in about.json()["routes"]
    assert alive.status_code == 200


async def test_it_is_ready_when_every_service_serves(http: httpx2.AsyncClient) -> None:
    reply = await http.get("/readyz")

    serving = dict.fromkeys(("inference", "orchestrator", "tool_registry", "workflow"), "serving")
    assert reply.status_code == 200
    assert reply.json() == {"status": "ready", "services": serving}


async def test_it_is_not_ready_while_a_service_does_not_serve(
    edge: Suite, http: httpx2.AsyncClient
) -> None:
    health = edge.services["orchestrator"].health
    assert health is not None
    await health.set_serving(False)

    reply = await http.get("/readyz")

    assert reply.status_code == 503
    assert reply.json()["services"]["orchestrator"] == "not_serving"


async def test_it_is_not_ready_while_a_service_is_away() -> None:
    async with suite(tool_registry=NOWHERE) as edge, asyncio.timeout(5), client(edge) as http:
        reply = await http.get("/readyz")

    assert reply.status_code == 503
    assert reply.json()["services"]["tool_registry"] == "unavailable"
    assert reply.json()["services"]["inference"] == "serving"


async def test_the_admin_port_tells_of_this_process_alone() -> None:
    async with (
        suite(inference=NOWHERE) as edge,
        httpx2.AsyncClient(base_url=f"http://{edge.edge.admin}") as http,
    ):
        states = [(await http.get(path)).status_code for path in ("/livez", "/readyz")]

    assert states == [200, 200]


async def test_a_taken_port_is_an_error_that_names_it(edge: Suite) -> None:
    with pytest.raises(OSError, match="cannot listen on"):
        async with running(Settings(listen=edge.edge.address, page_token_key="11" * 32)):
            pass


async def _stopping(edge: Suite) -> None:
    """Return as soon as the edge takes no more."""
    async with client(edge) as http:
        reply = await http.get("/readyz")
        while reply.json()["status"] != "stopping":
            reply = await http.get("/readyz")


async def test_while_stopping_calls_end_and_new_ones_are_refused() -> None:
    script = Script(hangs=True)
    left = asyncio.Event()

    async def serve(started: asyncio.Future[Suite]) -> None:
        async with suite(script, grace=timedelta(seconds=5)) as edge:
            started.set_result(edge)
            await left.wait()

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        started: asyncio.Future[Suite] = asyncio.get_running_loop().create_future()
        serving = group.create_task(serve(started))
        edge = await started
        async with client(edge) as http:
            first = group.create_task(http.get("/v1/models"))
            await script.arrived.wait()
            left.set()
            await _stopping(edge)
            refused = await http.get("/v1/models")
            script.released.set()
            assert (await first).status_code == 200
        await serving

    assert (refused.status_code, refused.json()["error_code"]) == (503, "EDGE_STOPPING")
    assert refused.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("sent", "grace"),
    [
        (request("GET", "/v1/tasks/t:watch"), 30.0),  # Can be resumed elsewhere: ends at once.
        (request("POST", "/v1/agent/stream", b'{"query": "x"}'), 0.05),
    ],
)
async def test_a_stream_ends_with_an_error_when_the_edge_stops(sent: bytes, grace: float) -> None:
    script = Script(messages=1, hangs=True)
    async with asyncio.timeout(10):
        async with suite(script, grace=timedelta(seconds=grace)) as edge:
            connection = wire(edge.port)
            opened = await connection.__aenter__()
            await opened.send(sent)
            await opened.reader.readuntil(b"\n\n")
        rest = await opened.reader.read()
        await connection.__aexit__(None, None, None)

    assert b"event: error" in rest
    assert b"EDGE_STOPPING" in rest
    assert rest.endswith(b"0\r\n\r\n")


async def test_a_call_that_outlasts_the_grace_period_is_told_so() -> None:
    script = Script(hangs=True)
    async with asyncio.timeout(10):
        async with suite(script, grace=timedelta(seconds=0.05)) as edge:
            connection = wire(edge.port)
            opened = await connection.__aenter__()
            await opened.send(request("GET", "/v1/models"))
            await script.arrived.wait()
        status, _, body = await opened.answer()
        await connection.__aexit__(None, None, None)

    assert (status, body["error_code"]) == (503, "EDGE_STOPPING")


async def test_what_only_websockets_need_is_not_loaded_at_the_start() -> None:
    program = "import sys, gateway.__main__; print('websockets' in sys.modules)"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(20):
        said, _ = await process.communicate()

    assert said.strip() == b"False"


async def test_the_process_stops_at_sigterm_and_leaves_nothing(edge: Suite) -> None:
    targets = {
        f"GATEWAY_{name.upper()}__TARGET": each.address for name, each in edge.services.items()
    }
    environment = {
        **os.environ,
        **targets,
        "GATEWAY_LISTEN": "127.0.0.1:0",
        "GATEWAY_GRACE": "PT1S",
        "RUNPLANE_PAGE_TOKEN_KEY": "11" * 32,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", env=environment, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    async with asyncio.timeout(20):
        line = await process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        code = await process.wait()

    assert b'"serving"' in line
    assert code == 0


async def test_a_wrong_setting_is_one_line_and_exit_code_2() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        env={**os.environ, "GATEWAY_GRACE": "soon"},
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(20):
        _, said = await process.communicate()

    assert process.returncode == 2
    assert len(said.splitlines()) == 1
    assert b"grace" in said.lower()
