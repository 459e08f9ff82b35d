"""Tools, models and operations through the whole suite."""

import json
from typing import Any

import httpx2

from tests.e2e.streams import read

MESSAGES = [{"role": "user", "content": "one two three"}]


def pages(http: httpx2.Client, path: str, member: str) -> list[Any]:
    """All items of a list, one a page."""
    found: list[Any] = []
    token = ""
    while True:
        page = http.get(path, params={"page_size": 1, "page_token": token}).json()
        assert len(page[member]) == 1
        found += page[member]
        if not (token := page["next_page_token"]):
            return found


BUILTIN = {"filter": "kind = builtin"}  # Other tests register more with the same suite.


def test_tools_are_listed_with_their_schemas(http: httpx2.Client) -> None:
    tools = http.get("/v1/tools", params=BUILTIN).json()["tools"]

    assert [each["name"] for each in tools] == ["calculator", "current_time", "unit_convert"]
    assert all(each["input_schema"]["type"] == "object" for each in tools)
    assert all(each["output_schema"] and each["examples"] for each in tools)
    assert all(each["timeout_ms"] > 0 for each in tools)


def test_a_tool_can_be_looked_up(http: httpx2.Client) -> None:
    tool = http.get("/v1/tools/calculator").json()

    assert tool == http.get("/v1/tools", params=BUILTIN).json()["tools"][0]
    assert tool["input_schema"]["required"] == ["expression"]


def test_pages_of_one_make_the_whole_list(http: httpx2.Client) -> None:
    assert pages(http, "/v1/tools", "tools") == http.get("/v1/tools").json()["tools"]
    assert pages(http, "/v1/models", "models") == http.get("/v1/models").json()["models"]


def test_a_tool_call_answers_in_its_shape(http: httpx2.Client) -> None:
    reply = http.post("/v1/tools/calculator:call", json={"input": {"expression": "12*7"}})

    body = reply.json()
    assert (reply.status_code, body["protocol_version"], body["status"]) == (200, "1.0", "success")
    assert body["tool_call_id"].startswith("call_")
    assert (body["tool_name"], body["result"]) == ("calculator", {"value": 84})
    assert set(body["observability"]) == {"trace_id", "span_id", "latency_ms", "token_count"}
    assert len(body["observability"]["trace_id"]) == 32
    assert "error" not in body


def test_a_tool_that_cannot_do_it_says_why(http: httpx2.Client) -> None:
    reply = http.post("/v1/tools/calculator:call", json={"input": {"expression": "1/0"}})

    body = reply.json()
    assert (reply.status_code, body["status"]) == (200, "error")
    assert body["error"]["reason"] == "DIVISION_BY_ZERO"
    assert body["error"]["suggested_fix"]


def test_every_example_of_every_tool_holds(http: httpx2.Client) -> None:
    for tool in http.get("/v1/tools").json()["tools"]:
        for example in tool["examples"]:
            path = f"/v1/tools/{tool['name']}:call"
            body = http.post(path, json={"input": example["input"]}).json()

            assert body["status"] == "success"
            assert set(body["result"]) == set(example["output"])


def test_models_are_listed_and_looked_up(http: httpx2.Client) -> None:
    (model,) = http.get("/v1/models").json()["models"]

    assert (model["name"], model["engine"], model["is_default"]) == ("echo", "echo", True)
    assert model == http.get("/v1/models/echo").json()


def test_generate_answers_whole(http: httpx2.Client) -> None:
    body = http.post("/v1/inference/generate", json={"messages": MESSAGES}).json()

    assert (body["status"], body["finish_reason"]) == ("completed", "stop")
    assert body["text"] == "one two three"
    assert body["usage"]["total_tokens"] == (
        body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]
    )
    assert body["metadata"]["model"] == "echo"


def test_generate_stops_at_its_token_limit(http: httpx2.Client) -> None:
    request = {"messages": MESSAGES, "sampling": {"max_tokens": 2}}

    body = http.post("/v1/inference/generate", json=request).json()

    assert (body["text"].split(), body["finish_reason"]) == (["one", "two"], "length")


def test_a_generation_streams_as_events(http: httpx2.Client) -> None:
    request = {"messages": [{"role": "user", "content": "tokens:5000"}]}
    with http.stream("POST", "/v1/inference/stream", json=request) as reply:
        events = list(read(reply.iter_lines()))

    said = [each.said for each in events]
    text = "".join(each.get("text", "") for each in said)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert [each["sequence"] for each in said] == list(range(1, len(said) + 1))
    assert [each.event for each in events] == ["delta"] * (len(events) - 1) + ["complete"]
    assert text.split() == [f"tok{n}" for n in range(1, 5001)]
    assert said[-1]["usage"]["completion_tokens"] == 5000


def test_tokens_can_be_counted(http: httpx2.Client) -> None:
    counted = http.post("/v1/inference/count_tokens", json={"messages": MESSAGES}).json()
    body = http.post("/v1/inference/generate", json={"messages": MESSAGES}).json()

    assert counted["prompt_tokens"] == body["usage"]["prompt_tokens"]
    assert counted["model"] == "echo"


def test_probes_say_that_all_serve(http: httpx2.Client) -> None:
    health, ready = http.get("/healthz"), http.get("/readyz")

    assert (health.status_code, ready.status_code) == (200, 200)
    assert set(ready.json()["services"].values()) == {"serving"}
    names = {"inference", "orchestrator", "tool_registry", "workflow"}
    assert set(ready.json()["services"]) == names


def test_a_request_id_comes_back_on_success_and_on_error(http: httpx2.Client) -> None:
    headers = {"X-Request-Id": "mine-1"}

    good = http.get("/v1/tools", headers=headers)
    bad = http.get("/v1/tools/nope", headers=headers)

    assert good.headers["x-request-id"] == "mine-1"
    assert (bad.headers["x-request-id"], bad.json()["request_id"]) == ("mine-1", "mine-1")


def test_a_request_without_an_id_gets_one(http: httpx2.Client) -> None:
    ids = {http.get("/v1/tools").headers["x-request-id"] for _ in range(3)}

    assert len(ids) == 3


def test_a_trace_goes_through_all_services(http: httpx2.Client) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}

    invoked = http.post("/v1/agent/invoke", json={"query": "Hello"}, headers=headers).json()
    request = {"input": {"expression": "1"}}
    called = http.post("/v1/tools/calculator:call", json=request, headers=headers).json()

    assert invoked["metadata"]["trace_id"] == trace
    assert called["observability"]["trace_id"] == trace


def test_a_large_answer_arrives_whole(http: httpx2.Client) -> None:
    body = http.post("/v1/agent/invoke", json={"query": "tokens:50000"}).json()

    assert body["result"].split()[-1] == "tok50000"
    assert len(json.dumps(body)) > 400_000
