"""What nobody may find in logs and spans: prompts and secrets are planted in a whole suite at level
debug, errors are made to happen, and everything that its processes wrote and sent is looked
through."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest

from tests.e2e.running import PLAIN, Suite, stop, suite, until
from tests.servers.otlp import Collector, collector
from tests.servers.ports import free

MARK = "xyzzy"  # Part of all that is planted, and of nothing else.
KEYS = {
    "TOOL_REGISTRY_SECRET_TARGET_KEY": f"sk-{MARK}-tool",
    "INFERENCE_SECRET_FAR_KEY": f"sk-{MARK}-model",
    "RUNPLANE_KAFKA_PASSWORD": f"{MARK}-kafka",
    "RUNPLANE_KAFKA_USERNAME": f"{MARK}-user",
    "AWS_SECRET_ACCESS_KEY": f"{MARK}-aws",
    "GATEWAY_ADMIN_TOKEN": f"{MARK}-admin-token",
}


class Echoing(BaseHTTPRequestHandler):
    """A target that fails, and says in its answer all that it was sent."""

    def do_POST(self) -> None:
        """Fail."""
        sent = self.rfile.read(int(self.headers["Content-Length"] or 0))
        body = str(self.headers).encode() + sent
        self.send_response(500, "broken")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815 - the name is the server's.

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    """Its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Echoing) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def sink() -> Iterator[Collector]:
    """What spans are sent to."""
    with collector() as kept:
        yield kept


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory, sink: Collector) -> Iterator[Suite]:
    """A suite full of secrets, whose bus is away."""
    folder = tmp_path_factory.mktemp("secrets")
    away = f"kafka://127.0.0.1:{free()}"
    options = ("--engine", "echo", "--verbose", "--log-level", "debug", "--event-bus", away)
    room = {"INFERENCE_EGRESS__ALLOW": "127.0.0.0/8", "TOOL_REGISTRY_EGRESS__ALLOW": "127.0.0.0/8"}
    told = {
        "RUNPLANE_TELEMETRY_ENDPOINT": sink.url,
        "RUNPLANE_TELEMETRY_HEADERS": f"authorization=Bearer {MARK}-collector",
    }
    with suite(folder, *options, **room, **KEYS, **told) as running:
        yield running


def written(running: Suite) -> str:
    """All that `up` and its children wrote."""
    logs = (running.state / "logs").glob("*.jsonl")
    return running.said + "".join(each.read_text() for each in logs)


def registered(http: httpx2.Client, target: str) -> list[int]:
    """A tool, a model and an agent with secrets and prompts of their own."""
    key = {"scheme": "header", "name": "X-Api-Key", "secret": "target-key"}
    tool = {
        "name": "leaky",
        "description": f"{MARK} description",
        "http": {"method": "POST", "url": f"{target}/leaky", "auth": key},
    }
    model = {
        "name": "far",
        "engine": "openai",
        "openai": {"url": f"{target}/v1", "model": "far", "secret": "far-key"},
        "is_wanted": True,
    }
    agent = {"agent_id": "spy", "instructions": f"{MARK} instructions", "tools": ["leaky"]}
    paths = {"/v1/tools": tool, "/v1/models": model, "/v1/agents": agent}
    return [http.post(path, json=body).status_code for path, body in paths.items()]


def troubles(http: httpx2.Client) -> set[int]:
    """Requests with something planted in each, most of which fail; the statuses."""
    system = [{"role": "system", "content": f"{MARK} system"}, {"role": "user", "content": MARK}]
    call = f'tool:leaky {{"{MARK}": "{MARK}"}}\n{MARK}'
    asked = [
        ("/v1/agent/invoke", {"query": f"{MARK} query\nfail"}),
        ("/v1/agent/invoke", {"query": call, "agent_id": "spy"}),
        ("/v1/agent/stream", {"query": f"{MARK}\nfail"}),
        ("/v1/agent/invoke", {"query": f"sleep:2000 {MARK}", "timeout_ms": 200}),
        ("/v1/agent/invoke", {"query": MARK, "model": "far"}),
        ("/v1/agent/invoke", {"query": MARK, MARK: MARK}),
        ("/v1/agent/invoke", {"query": MARK, "idempotency_key": f"{MARK} no key\n"}),
        ("/v1/inference/generate", {"messages": system}),
        ("/v1/inference/generate", {"messages": system, "model": "far"}),
        ("/v1/inference/generate", {"messages": system, "regex": f"({MARK}"}),
        ("/v1/inference/embed", {"inputs": [MARK], "model": "far"}),
        ("/v1/tools/leaky:call", {"input": {MARK: f"{MARK} input"}}),
        ("/v1/tools/calculator:call", {"input": {"expression": f"{MARK}("}}),
        ("/v1/definitions", {"yaml": f"{MARK}: ["}),
        (f"/v1/{MARK}/nowhere", {}),
        ("/mcp", {"jsonrpc": "2.0", "id": MARK, "method": MARK, "params": {MARK: MARK}}),
    ]
    headers = {
        "Authorization": f"Bearer {MARK}",
        "Cookie": f"session={MARK}",
        "X-Api-Key": MARK,
        "User-Agent": MARK,
    }
    said = {http.post(path, json=body, headers=headers).status_code for path, body in asked}
    said.add(http.post("/v1/agent/invoke", content=f'{{"query": "{MARK}'.encode()).status_code)
    said.add(http.get(f"/v1/tasks/task_none?secret={MARK}", headers=headers).status_code)
    return said


def broken_off(port: int) -> None:
    """A request that is no HTTP, and one whose client goes away in the middle."""
    head = (
        f"POST /v1/agent/invoke?{MARK} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Api-Key: {MARK}\r\n"
    )
    for sent in (f"{MARK} / HTTP/1.1\r\n\r\n", f"{head}Content-Length: 99\r\n\r\n{MARK}"):
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(sent.encode())


def test_no_prompt_and_no_secret_is_in_anything_that_a_suite_writes_or_sends(
    planted: Suite, target: str, sink: Collector
) -> None:
    with httpx2.Client(base_url=planted.url, timeout=30) as http:
        made = registered(http, target)
        statuses = troubles(http)
        broken_off(planted.port)
        first = planted.children()[0]
        os.kill(first, signal.SIGKILL)
        until(lambda: len(planted.children()) >= 5 and first not in planted.children())
        until(lambda: http.get("/readyz").status_code == 200)
        troubles(http)
        until(lambda: '"level": "debug"' in written(planted))
    stop(planted)  # Whatever it still holds, it sends then.

    said = written(planted)
    sent = {each.name for each in sink.spans}
    assert made == [200, 200, 200]
    assert {200, 400, 404} <= statuses
    assert '"message": "answered"' in said
    assert '"message": "call failed"' in said
    assert [line for line in said.splitlines() if MARK in line] == []
    assert {"invoke_agent spy", "execute_tool leaky", "POST"} <= sent
    assert [each for each in sink.requests if MARK in str(each)] == []


@pytest.mark.parametrize(
    "environment",
    [
        {"RUNPLANE_EVENT_STORE": "postgresql://ann:{MARK}@127.0.0.1:{port}/runplane"},
        {"RUNPLANE_HOT_STORE": "redis://:{MARK}@127.0.0.1:{port}"},
        {"RUNPLANE_OBJECT_STORE": "s3://bucket", "AWS_SECRET_ACCESS_KEY": "{MARK}"},
        {"RUNPLANE_EVENT_STORE": "{MARK}://ann:{MARK}@127.0.0.1"},
        {"RUNPLANE_PAGE_TOKEN_KEY": "{MARK}"},
        {"ORCHESTRATOR_SERVER__ADMIN_TOKEN": "{MARK}"},
    ],
)
def test_a_start_that_fails_tells_no_password(environment: dict[str, str], tmp_path: Path) -> None:
    port = free()
    given = {
        key: value.replace("{MARK}", MARK).replace("{port}", str(port))
        for key, value in environment.items()
    }
    key = {"RUNPLANE_PAGE_TOKEN_KEY": "0" * 64, "RUNPLANE_LOG__LEVEL": "debug"}
    with subprocess.Popen(
        [sys.executable, "-m", "services.orchestrator"],
        env=PLAIN | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"} | key | given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=Path(__file__).parents[2],
    ) as process:
        try:
            out, _ = process.communicate(timeout=5)
        except subprocess.TimeoutExpired:  # It serves without: that is for who asks it to say.
            process.kill()
            out, _ = process.communicate()

    assert out
    assert MARK not in out.decode()
