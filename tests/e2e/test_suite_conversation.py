"""Conversations with a task through the whole suite, over a WebSocket."""

import json
from collections.abc import Iterator

import httpx2
from websockets.sync.client import ClientConnection, connect

from tests.e2e.running import Suite, until
from tests.e2e.streams import Event, is_contiguous, watched

CALLS = 'tool:calculator {"expression": "12*7"}\n12 times 7 is 84.'


def opened(echo: Suite) -> ClientConnection:
    url = echo.url.replace("http://", "ws://")
    return connect(f"{url}/v1/agent/converse", proxy=None, open_timeout=10)


def say(socket: ClientConnection, **message: object) -> None:
    socket.send(json.dumps(message))


def heard(socket: ClientConnection) -> Iterator[str]:
    """Frames until the call ends well."""
    yield from map(str, socket)


def test_a_call_is_approved_where_it_is_seen(echo: Suite, http: httpx2.Client) -> None:
    frames: list[str] = []
    with opened(echo) as socket:
        say(socket, start={"query": CALLS, "approval_tools": ["*"]})
        for frame in heard(socket):
            frames.append(frame)
            event = json.loads(frame)
            if event["type"] == "approval_required":
                say(socket, approval={"tool_call_id": event["tool_call_id"], "approved": True})

    events: list[Event] = [json.loads(frame) for frame in frames]
    again = watched(http, f"/v1/tasks/{events[0]['task_id']}:watch")
    assert is_contiguous(events)
    assert [each["output"] for each in events if each["type"] == "tool_result"] == [{"value": 84}]
    assert events[-1]["status"] == "completed"
    assert frames == [each.data for each in again]


def test_closing_the_socket_cancels_the_task_that_it_started(
    echo: Suite, http: httpx2.Client
) -> None:
    with opened(echo) as socket:
        say(socket, start={"query": "sleep:20000\nnever"})
        task_id = json.loads(socket.recv(timeout=10))["task_id"]

    until(lambda: http.get(f"/v1/tasks/{task_id}").json()["status"] == "canceled")


def test_a_task_is_joined_from_where_its_last_watcher_stopped(
    echo: Suite, http: httpx2.Client
) -> None:
    task_id = http.post("/v1/agent/invoke", json={"query": "Hello"}).json()["task_id"]
    with opened(echo) as socket:
        say(socket, join={"task_id": task_id, "after_sequence": 2})
        events = [json.loads(frame) for frame in heard(socket)]

    assert events[0]["sequence"] == 3
    assert events[-1]["type"] == "task_complete"
