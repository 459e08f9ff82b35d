"""Tools that break their word, in a whole suite: each is a clear error for whoever calls it, an
event in the task of an agent that calls it, and no harm to anybody else."""

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

import httpx2
import pytest

JSON: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
PIECE: Final = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
Misbehaviour = Callable[["Handler"], None]


def returns_what_it_must_not(target: "Handler") -> None:
    target.wfile.write(JSON + b'Content-Length: 6\r\n\r\n"text"')


def never_returns(target: "Handler") -> None:
    target.rfile.read()  # Until the caller hangs up.


def returns_100_mb(target: "Handler") -> None:
    target.wfile.write(JSON + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(100_000_000 // len(PIECE)):
        target.wfile.write(PIECE)


def hangs_up_in_the_middle(target: "Handler") -> None:
    target.wfile.write(JSON + b"Content-Length: 100\r\n\r\n[1, 2")


def lies_about_its_type(target: "Handler") -> None:
    target.wfile.write(JSON + b"Content-Length: 13\r\n\r\n<html></html>")


def speaks_an_old_protocol(target: "Handler") -> None:
    target.wfile.write(b"<html>As of HTTP/0.9</html>\r\n\r\n")


BAD: Final[dict[str, tuple[Misbehaviour, int, str]]] = {
    "forbidden": (returns_what_it_must_not, 200, "TOOL_OUTPUT_INVALID"),
    "endless": (never_returns, 504, "TOOL_TIMEOUT"),
    "huge": (returns_100_mb, 200, "TOOL_RESULT_TOO_LARGE"),
    "broken_off": (hangs_up_in_the_middle, 200, "TARGET_FAILED"),
    "lying": (lies_about_its_type, 200, "TOOL_OUTPUT_INVALID"),
    "old": (speaks_an_old_protocol, 200, "TARGET_FAILED"),
}
"""By path: what the target does, and the status and the reason that a caller gets."""


class Handler(socketserver.StreamRequestHandler):
    """A connection to the target."""

    def handle(self) -> None:
        """Read the head of a request, and do what its path says."""
        path = self.rfile.readline().split()[1].decode().removeprefix("/")
        while self.rfile.readline().strip():
            pass
        with suppress(OSError):  # The caller has heard enough.
            BAD[path][0](self)


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    """The URL of a server that misbehaves."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def results(http: httpx2.Client, query: str, *tools: str) -> list[dict[str, Any]]:
    """What tools answered in the task of an agent."""
    asked = {"query": query, "tools": tools}
    text = http.post("/v1/agent/stream", json=asked).text
    lines = [line[5:] for line in text.splitlines() if line.startswith("data:")]
    return [event for event in map(json.loads, lines) if event.get("type") == "tool_result"]


def reason_in(answer: dict[str, Any]) -> object:
    """Why a call failed: by the tool's own error, or by the edge's."""
    return answer["error"]["reason"] if "error" in answer else answer["error_code"]


@pytest.mark.parametrize("path", BAD)
def test_a_tool_that_breaks_its_word_is_an_error_and_an_event_and_no_harm(
    http: httpx2.Client, target: str, path: str
) -> None:
    _, status, reason = BAD[path]
    name = f"bad_{path}"
    tool = {
        "name": name,
        "description": "Breaks its word.",
        "timeout_ms": 1000 if path == "endless" else 20_000,
        "output_schema": {"type": "number"},
        "http": {"method": "POST", "url": f"{target}/{path}"},
    }
    assert http.post("/v1/tools", json=tool).status_code == 200

    called = http.post(f"/v1/tools/{name}:call", json={"input": {}})
    (event,) = results(http, f"tool:{name} {{}}\nIt failed.", name)
    (after,) = results(http, 'tool:calculator {"expression": "12*7"}\nDone.', "calculator")

    assert (called.status_code, called.json()["status"]) == (status, "error")
    assert reason_in(called.json()) == reason
    assert (event["status"], event["error"]["error_code"]) == ("error", reason)
    assert event["error"]["message"]
    assert (after["status"], after["output"]) == ("success", {"value": 84})
