"""One trace, from an HTTP request through every service, Kafka and back in."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.e2e.running import Suite, suite, until
from tests.servers.kafka import kafka
from tests.servers.otlp import Collector, Recorded, collector, tree

SERVER = 2
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADERS = {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "vendor=1"}
QUERY = 'tool:calculator {"expression": "6 * 7"}\nsecret words'
LISTENER = {
    "name": "listener",
    "initial": "open",
    "state_machine": {"open": {"transitions": ["heard"]}, "heard": {"transitions": ["closed"]}},
    "event_source": "kafka://events/listened",
}
ASKER = {
    "name": "asker",
    "initial": "asked",
    "state_machine": {
        "asked": {
            "on_enter": [
                {"tool": "calculator", "input": {"expression": "6 * 7"}},
                {"agent": "helper", "query": "Hello"},
            ],
            "on_success": "told",
            "on_failure": "failed",
        },
        "told": {"terminal": "success"},
        "failed": {"terminal": "failure"},
    },
    "event_source": "kafka://events/asked",
}


@pytest.fixture(scope="module")
def sink() -> Iterator[Collector]:
    with collector() as kept:
        yield kept


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory, sink: Collector) -> Iterator[Suite]:
    folder: Path = tmp_path_factory.mktemp("traced")
    with (
        kafka() as broker,
        suite(
            folder,
            "--engine",
            "echo",
            "--event-bus",
            broker.url,
            RUNPLANE_TELEMETRY_ENDPOINT=sink.url,
        ) as running,
    ):
        yield running


def names(spans: list[Recorded]) -> set[str]:
    return {each.name for each in spans}


def has_come(spans: list[Recorded], *wanted: str) -> bool:
    """Whether these are there, and all that stands above any: processes send at their own times."""
    known = {each.span_id for each in spans} | {CALLER, ""}
    are_whole = all(each.parent_id in known for each in spans)
    return are_whole and {*wanted} <= names(spans) | {each.service for each in spans}


def parents(spans: list[Recorded], name: str) -> list[str]:
    """What stands above the first span of a name, from there to the top."""
    known = {each.span_id: each for each in spans}
    at = next(each for each in spans if each.name == name)
    above = []
    while (parent := known.get(at.parent_id)) is not None:
        above.append(parent.name)
        at = parent
    return above


def test_a_query_is_one_tree_through_every_service(traced: Suite, sink: Collector) -> None:
    with httpx2.Client(base_url=traced.url, timeout=20) as http:
        said = http.post("/v1/agent/invoke", json={"query": QUERY}, headers=HEADERS)
    assert said.status_code == 200, said.text
    wanted = ("POST /v1/agent/invoke", "execute_tool calculator", "runplane-inference")
    until(lambda: has_come(sink.of(TRACE), *wanted))

    spans = sink.of(TRACE)
    print(tree(spans))  # noqa: T201 - what this test is for, beside passing
    top = next(each for each in spans if each.name == "POST /v1/agent/invoke")
    assert (top.parent_id, top.tracestate) == (CALLER, "vendor=1")
    assert parents(spans, "execute_tool calculator") == [
        "runplane.tool_registry.v1.ToolRegistryService/CallTool",
        "invoke_agent default",
        "runplane.orchestrator.v1.OrchestratorService/Invoke",
        "POST /v1/agent/invoke",
    ]
    assert "invoke_agent default" in parents(spans, "chat echo")
    assert {each.service for each in spans} == {
        "runplane-gateway",
        "runplane-orchestrator",
        "runplane-inference",
        "runplane-tool_registry",
    }


def test_the_agents_span_has_what_tail_samplers_want(traced: Suite, sink: Collector) -> None:
    trace = "a" * 31 + "1"
    headers = {"traceparent": f"00-{trace}-{CALLER}-01"}
    with httpx2.Client(base_url=traced.url, timeout=20) as http:
        task = http.post("/v1/agent/invoke", json={"query": QUERY}, headers=headers).json()
    until(lambda: "invoke_agent default" in names(sink.of(trace)))

    agent = next(each for each in sink.of(trace) if each.name == "invoke_agent default")
    assert agent.facts["runplane.task_id"] == task["task_id"]
    assert agent.facts["runplane.state"] == "completed"
    assert agent.facts["runplane.tenant"] == "default"
    assert agent.facts["gen_ai.response.model"] == "echo"
    assert agent.facts["runplane.tokens"] == task["metrics"]["tokens_used"]
    assert agent.facts["runplane.cost_usd"] == 0
    assert agent.facts["runplane.appends"] >= 2
    assert agent.facts["runplane.events"] > agent.facts["runplane.appends"]
    assert agent.facts["runplane.append_ms"] > 0
    assert "secret words" not in json.dumps([each.facts for each in sink.of(trace)])


def test_what_asks_a_model_directly_says_which_one_answered(traced: Suite, sink: Collector) -> None:
    trace = "e" * 31 + "1"
    headers = {"traceparent": f"00-{trace}-{CALLER}-01"}
    with httpx2.Client(base_url=traced.url, timeout=20) as http:
        for path, body in (
            ("embed", {"inputs": ["One"]}),
            ("classify", {"input": "One", "labels": ["a", "b"]}),
            ("generate", {"messages": [{"role": "user", "content": "Hello"}]}),
        ):
            said = http.post(f"/v1/inference/{path}", json=body, headers=headers)
            assert said.status_code == 200, said.text
    service = "runplane.inference.v1.InferenceService/"
    until(lambda: {"embeddings echo", f"{service}Generate"} <= names(sink.of(trace)))

    facts = {each.name: each.facts for each in sink.of(trace) if each.kind == SERVER}
    for name in ("embeddings echo", f"{service}Classify", f"{service}Generate"):
        assert facts[name]["gen_ai.response.model"] == "echo"
        assert facts[name]["runplane.queue_ms"] >= 0
    assert facts[f"{service}Generate"]["runplane.first_text_ms"] > 0
    assert facts["embeddings echo"]["gen_ai.usage.input_tokens"] > 0


def test_who_continues_a_task_is_linked_to_it(traced: Suite, sink: Collector) -> None:
    first, second = "c" * 31 + "1", "c" * 31 + "2"
    body = {"query": "sleep:700\nHello", "timeout_ms": 300}
    with httpx2.Client(base_url=traced.url, timeout=20) as http:
        said = http.post(
            "/v1/agent/invoke",
            json=body,
            headers={"traceparent": f"00-{first}-{CALLER}-01"},
        ).json()
        assert said["status"] == "partial", said
        done = http.post(
            "/v1/agent/continue",
            json={"continue_mark": said["continue_mark"]},
            headers={"traceparent": f"00-{second}-{CALLER}-01"},
        )
        assert done.status_code == 200, done.text
    until(lambda: "invoke_agent default" in names(sink.of(first)))
    until(lambda: any(each.links for each in sink.of(second)))

    agent = next(each for each in sink.of(first) if each.name == "invoke_agent default")
    (link,) = (link for each in sink.of(second) for link in each.links)
    assert link == (first, agent.span_id)


def test_an_approval_is_an_event_of_the_agents_span(traced: Suite, sink: Collector) -> None:
    trace = "d" * 31 + "1"
    headers = {"traceparent": f"00-{trace}-{CALLER}-01"}
    body = {"query": QUERY, "approval_tools": ["calculator"]}
    with httpx2.Client(base_url=traced.url, timeout=20) as http:
        made = http.post("/v1/tasks", json=body, headers=headers)
        assert made.status_code == 200, made.text
        path = f"/v1/tasks/{made.json()['task_id']}"
        until(lambda: http.get(path).json()["status"] == "waiting")
        http.post(f"{path}:cancel", json={})
    until(lambda: "invoke_agent default" in names(sink.of(trace)))

    agent = next(each for each in sink.of(trace) if each.name == "invoke_agent default")
    assert ("approval_asked", {"gen_ai.tool.name": "calculator"}) in agent.events
    assert agent.facts["runplane.state"] == "canceled"


def test_a_workflow_is_one_tree_out_over_kafka_and_back_in(traced: Suite, sink: Collector) -> None:
    trace = "b" * 31 + "1"
    headers = {"traceparent": f"00-{trace}-{CALLER}-01"}
    with httpx2.Client(base_url=traced.url, timeout=20) as http:
        made = http.post("/v1/agents", json={"agent_id": "helper"})
        assert made.status_code == 200, made.text
        for definition in (LISTENER, ASKER):
            made = http.post("/v1/definitions", json={"definition": definition})
            assert made.status_code == 200, made.text
        waiting = {"definition": "listener", "correlation_id": "c-1"}
        listener = http.post("/v1/workflows", json=waiting).json()["workflow_id"]
        begun = http.post("/v1/workflows", json={"definition": "asker"}, headers=headers)
        assert begun.status_code == 200, begun.text
        event = {"event_type": "heard", "payload": {}, "correlation_id": "c-1"}
        sent = http.post("/v1/events", json=event, headers=headers)
        assert sent.status_code == 200, sent.text
        until(
            lambda: http.get(f"/v1/workflows/{listener}").json()["current_state"] == "heard",
            seconds=30,
        )
    wanted = ("invoke_workflow asker", "invoke_agent helper", "execute_tool calculator")
    until(
        lambda: has_come(sink.of(trace), *wanted, "process workflow-signals", "send events/asked")
    )

    spans = sink.of(trace)
    print(tree(spans))  # noqa: T201 - as above
    received = next(each for each in spans if each.kind == 5)
    above = next(each for each in spans if each.span_id == received.parent_id)
    assert above.kind == 4  # A producer's.
    assert "POST /v1/events" in parents(spans, received.name)
    assert "invoke_workflow asker" in parents(spans, "invoke_agent helper")
    assert "POST /v1/workflows" in parents(spans, "invoke_agent helper")
    assert parents(spans, "send events/asked")[-1] == "POST /v1/workflows"
