"""The real model through the whole suite. What it says is its own; how it is told is not."""

import httpx2

from tests.e2e.streams import Event, answer_of, asked, is_contiguous, read

INVOKE = "/v1/agent/invoke"


def check_told(said: list[Event]) -> None:
    """However a task ends, it is told in order, and says why it ended so."""
    first, last = said[0], said[-1]
    assert is_contiguous(said)
    assert (first["type"], last["type"]) == ("task_start", "task_complete")
    assert last["metrics"]["tokens_used"] > 0
    if last["status"] == "completed":
        assert said[-2]["type"] == "final_answer"
        assert said[-2]["answer"] == answer_of(said)
    else:
        assert last["status"] == "failed"
        assert last["error"]["error_code"] == "MODEL_OUTPUT_INVALID"


def test_an_agent_with_tools_is_told_from_start_to_end(real: httpx2.Client) -> None:
    said = [each.said for each in asked(real, "What is 12*7?", sampling={"seed": 1})]

    calls = [each["tool_call_id"] for each in said if each["type"] == "tool_call"]
    results = [each["tool_call_id"] for each in said if each["type"] == "tool_result"]
    check_told(said)
    assert sorted(calls) == sorted(results)


def test_an_agent_that_may_not_call_streams_text(real: httpx2.Client) -> None:
    fields = {"tool_choice": "none", "sampling": {"seed": 1, "max_tokens": 400}}
    said = [each.said for each in asked(real, "Who wrote Hamlet?", **fields)]

    types = [each["type"] for each in said]
    check_told(said)
    assert "tool_call" not in types
    assert types.count("message_delta") > 1


def cut_off(real: httpx2.Client) -> tuple[Event, Event]:
    """A long answer, cancelled at its first words: what the cancel answers, and the last event."""
    request = {
        "query": "Write a very long story about the sea.",
        "tool_choice": "none",
        "sampling": {"max_tokens": 3000},
    }
    with real.stream("POST", "/v1/agent/stream", json=request) as reply:
        events = read(reply.iter_lines())
        task_id = next(events).said["task_id"]
        next(each for each in events if each.event == "message_delta")
        canceled: Event = real.post(f"/v1/tasks/{task_id}:cancel").json()
        return canceled, list(events)[-1].said


def test_a_cancel_frees_the_model_for_the_next(real: httpx2.Client) -> None:
    slots = real.get("/v1/models").json()["models"][0]["slots"]
    cuts = [cut_off(real) for _ in range(slots)]  # One that went on would keep its slot.

    short = {"messages": [{"role": "user", "content": "Hi"}], "sampling": {"max_tokens": 2}}
    reply = real.post("/v1/inference/generate", json=short, timeout=5)

    assert reply.json()["usage"]["completion_tokens"] <= 2
    assert {said["status"] for cut in cuts for said in cut} == {"canceled"}
    assert all(canceled["result"] for canceled, _ in cuts)


def test_a_schema_binds_what_the_model_says(real: httpx2.Client) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}, "n": {"type": "integer", "maximum": 9}},
        "required": ["city", "n"],
        "additionalProperties": False,
    }
    request = {"messages": [{"role": "user", "content": "A city"}], "response_schema": schema}

    body = real.post("/v1/inference/generate", json=request).json()

    said = httpx2.Response(200, text=body["text"]).json()
    assert set(said) == {"city", "n"}
    assert said["city"] in {"Paris", "Rome"}


def test_a_query_over_the_window_is_told_size_and_limit(real: httpx2.Client) -> None:
    reply = real.post(INVOKE, json={"query": "word " * 8_000})

    body = reply.json()
    facts = body["details"][0]["metadata"]
    assert (reply.status_code, body["error_code"]) == (400, "CONTEXT_WINDOW_EXCEEDED")
    assert int(facts["prompt_tokens"]) > 8_000 > int(facts["limit_tokens"])
    assert facts["prompt_tokens"] in body["message"]
    assert facts["limit_tokens"] in body["message"]
    assert "task_id" not in facts


def test_a_model_counts_as_it_generates(real: httpx2.Client) -> None:
    messages = [{"role": "user", "content": "How many tokens is this?"}]
    counted = real.post("/v1/inference/count_tokens", json={"messages": messages}).json()
    request = {"messages": messages, "sampling": {"max_tokens": 1}}
    usage = real.post("/v1/inference/generate", json=request).json()["usage"]

    assert counted["prompt_tokens"] == usage["prompt_tokens"]
