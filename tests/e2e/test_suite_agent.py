"""Tasks through the whole suite: invoke, stream, watch, cancel, time out."""

import asyncio

import httpx2
import pytest

from tests.e2e.running import Suite, until
from tests.e2e.streams import Event, answer_of, asked, data_of, is_contiguous, read, watched

CALLS = 'tool:calculator {"expression": "12*7"}\n12 times 7 is 84.'
METRICS = {
    "total_duration_ms",
    "thought_duration_ms",
    "tool_duration_ms",
    "tokens_used",
    "time_to_first_token_ms",
    "cost_usd",
}
METADATA = {"model", "model_version", "session_id", "cached", "trace_id"}


def task_of(http: httpx2.Client, task_id: str) -> Event:
    """A task as it stands."""
    task: Event = http.get(f"/v1/tasks/{task_id}").json()
    return task


@pytest.mark.parametrize("path", ["/v1/agent/invoke", "/api/v1/agent/invoke"])
def test_invoke_answers_in_its_shape(http: httpx2.Client, path: str) -> None:
    reply = http.post(path, json={"query": "Hello"})

    body = reply.json()
    assert (reply.status_code, body["status"], body["result"]) == (200, "completed", "Hello")
    assert body["task_id"].startswith("task_")
    assert set(body["metrics"]) == METRICS
    assert set(body["metadata"]) == METADATA
    assert all(isinstance(each, int | float) for each in body["metrics"].values())
    assert body["metadata"]["session_id"].startswith("session_")
    assert body["metadata"]["cached"] is False


def test_a_stream_tells_a_task_from_start_to_end(http: httpx2.Client) -> None:
    events = asked(http, CALLS)

    said = [each.said for each in events]
    assert [each["type"] for each in said] == [
        "task_start",
        "agent_thought",
        "tool_call",
        "tool_result",
        "agent_thought",
        "message_delta",
        "final_answer",
        "task_complete",
    ]
    assert is_contiguous(said)
    assert all(each.event == each.said["type"] for each in events)
    assert all(each.id == str(each.said["sequence"]) for each in events)


def test_a_stream_shows_the_call_of_a_tool_and_its_result(http: httpx2.Client) -> None:
    said = {each.event: each.said for each in asked(http, CALLS)}

    call, result = said["tool_call"], said["tool_result"]
    assert call["tool_call_id"] == result["tool_call_id"]
    assert (call["tool_name"], call["tool_version"]) == ("calculator", "1.0.0")
    assert call["input"] == {"expression": "12*7"}
    assert (result["status"], result["output"]) == ("success", {"value": 84})


def test_a_stream_ends_with_the_task_in_short(http: httpx2.Client) -> None:
    last = asked(http, CALLS)[-1].said

    assert (last["type"], last["event_type"]) == ("task_complete", "task_complete")
    assert last["status"] == "completed"
    assert [each["type"] for each in last["chunks"]] == [
        "thought",
        "tool_call",
        "result",
        "thought",
        "result",
    ]
    assert set(last["metrics"]) == METRICS


@pytest.mark.parametrize("seen", [0, 1, 4, 7, 8])
def test_a_watch_repeats_every_event_byte_for_byte(http: httpx2.Client, seen: int) -> None:
    live = asked(http, CALLS)
    path = live[0].said["watch"]

    headers = {"Last-Event-ID": str(seen)} if seen else {}
    again = watched(http, path, **headers)

    assert [each.data for each in again] == [each.data for each in live[seen:]]


def test_a_watch_joins_while_the_task_runs(http: httpx2.Client) -> None:
    request = {"query": "sleep:300\nlate"}
    with http.stream("POST", "/v1/agent/stream", json=request) as reply:
        live = read(reply.iter_lines())
        first = next(live)
        joined = watched(http, first.said["watch"])
        rest = list(live)

    assert [each.data for each in joined] == [each.data for each in (first, *rest)]


def test_ndjson_carries_the_same_events(http: httpx2.Client) -> None:
    live = asked(http, CALLS)

    headers = {"Accept": "application/x-ndjson"}
    reply = http.get(live[0].said["watch"], headers=headers)

    assert reply.headers["content-type"].startswith("application/x-ndjson")
    assert reply.text.splitlines() == [each.data for each in live]


def test_a_stream_can_be_ndjson_from_the_start(http: httpx2.Client) -> None:
    headers = {"Accept": "application/x-ndjson"}
    reply = http.post("/v1/agent/stream", json={"query": "Hello"}, headers=headers)

    lines = reply.text.splitlines()
    task_id = task_of(http, httpx2.Response(200, text=lines[0]).json()["task_id"])["task_id"]
    again = watched(http, f"/v1/tasks/{task_id}:watch")
    assert lines == [each.data for each in again]


def test_a_task_can_be_looked_up(http: httpx2.Client) -> None:
    events = asked(http, CALLS)
    first, last = events[0].said, events[-1].said

    task = task_of(http, first["task_id"])

    assert task["task_id"] == first["task_id"]
    assert (task["status"], task["state"]) == ("completed", "TASK_STATE_COMPLETED")
    assert (task["query"], task["result"]) == (CALLS, "12 times 7 is 84.")
    assert task["session_id"] == first["session_id"]
    assert task["last_sequence"] == last["sequence"]
    assert task["create_time"] <= task["update_time"] <= task["deadline"]
    assert task["metrics"] == last["metrics"]
    assert task["metadata"] == last["metadata"]
    assert (task["agent_id"], task["warnings"]) == ("", [])


def test_an_answer_bound_by_a_schema_is_also_json(http: httpx2.Client) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    request = {"query": '{"a": 5}', "response_schema": schema}

    body = http.post("/v1/agent/invoke", json=request).json()

    assert body["output"] == {"a": 5}


@pytest.mark.parametrize("query", ["sleep:60000\nnever", "tokens:1000000"])
def test_a_cancel_ends_the_task_and_its_stream(http: httpx2.Client, query: str) -> None:
    with http.stream("POST", "/v1/agent/stream", json={"query": query}) as reply:
        events = read(reply.iter_lines())
        task_id = next(events).said["task_id"]
        canceled = http.post(f"/v1/tasks/{task_id}:cancel", json={"reason": "enough"})
        said = [each.said for each in events]

    assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")
    assert (said[-1]["type"], said[-1]["status"]) == ("task_complete", "canceled")
    assert "final_answer" not in [each["type"] for each in said]
    assert task_of(http, task_id)["result"] == answer_of(said)


def test_a_cancel_needs_no_body_and_may_be_repeated(http: httpx2.Client) -> None:
    request = {"query": "sleep:60000\nnever"}
    with http.stream("POST", "/v1/agent/stream", json=request) as reply:
        events = read(reply.iter_lines())  # As long as it lives, the stream is open.
        task_id = next(events).said["task_id"]
        replies = [http.post(f"/v1/tasks/{task_id}:cancel") for _ in range(2)]

    assert [each.json()["state"] for each in replies] == ["TASK_STATE_CANCELED"] * 2


def test_a_task_that_ended_cannot_be_canceled(http: httpx2.Client) -> None:
    task_id = http.post("/v1/agent/invoke", json={"query": "Hello"}).json()["task_id"]

    reply = http.post(f"/v1/tasks/{task_id}:cancel")

    assert (reply.status_code, reply.json()["error_code"]) == (400, "TASK_ALREADY_ENDED")
    assert task_of(http, task_id)["status"] == "completed"


@pytest.mark.parametrize("query", ["sleep:60000\nnever", "tokens:1000000"])
def test_a_client_that_leaves_cancels_its_task(http: httpx2.Client, query: str) -> None:
    with http.stream("POST", "/v1/agent/stream", json={"query": query}) as reply:
        task_id = next(read(reply.iter_lines())).said["task_id"]

    until(lambda: task_of(http, task_id)["status"] == "canceled", seconds=5)


def test_a_task_may_outlive_its_client(http: httpx2.Client) -> None:
    request = {"query": "sleep:100\nHello", "on_disconnect": "continue"}
    with http.stream("POST", "/v1/agent/stream", json=request) as reply:
        task_id = next(read(reply.iter_lines())).said["task_id"]

    until(lambda: task_of(http, task_id)["status"] == "completed", seconds=5)


def test_a_deadline_is_answered_before_it_passes(http: httpx2.Client) -> None:
    request, headers = {"query": "sleep:60000\nnever"}, {"X-Request-Timeout": "2"}

    # The client itself gives up when its deadline passes.
    reply = http.post("/v1/agent/invoke", json=request, headers=headers, timeout=2)

    body = reply.json()
    assert (reply.status_code, body["status"], body["retry_after"]) == (200, "partial", 3000)
    assert task_of(http, body["task_id"])["status"] == "running"
    http.post(f"/v1/tasks/{body['task_id']}:cancel", json={})
    again = http.post("/v1/agent/continue", json={"continue_mark": body["continue_mark"]})
    assert (again.json()["status"], again.json()["task_id"]) == ("canceled", body["task_id"])


def test_a_failing_engine_fails_the_task_with_its_reason(http: httpx2.Client) -> None:
    last = asked(http, "fail")[-1].said

    assert (last["type"], last["status"]) == ("task_complete", "failed")
    assert last["error"]["error_code"] == "ENGINE_FAILED"


async def test_32_streams_at_once_lose_nothing(echo: Suite) -> None:
    async def one(client: httpx2.AsyncClient, number: int) -> list[Event]:
        request = {"query": f"tokens:{500 + number}"}
        async with client.stream("POST", "/v1/agent/stream", json=request) as reply:
            return [each async for each in data_of(reply)]

    limits = httpx2.Limits(max_connections=32)
    async with (
        asyncio.timeout(30),
        httpx2.AsyncClient(base_url=echo.url, limits=limits, timeout=30) as client,
    ):
        streams = await asyncio.gather(*(one(client, number) for number in range(32)))

    assert all(map(is_contiguous, streams))
    assert {each[-1]["status"] for each in streams} == {"completed"}
    expected = [" ".join(f"tok{n}" for n in range(1, 501 + number)) for number in range(32)]
    assert [answer_of(each) for each in streams] == expected
    assert [each[-2]["answer"] for each in streams] == expected
