"""The example workflows through a whole suite, and its edge."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.e2e.running import Suite, outcome, until
from tests.e2e.streams import watched
from tests.servers.ports import free

EXAMPLES = Path(__file__).parents[2] / "examples" / "workflows"
ORDER: dict[str, Any] = {
    "order_id": "o-1",
    "card": "4242",
    "items": [{"sku": "tea", "count": 2, "price": 4.5}],
}
WORKFLOW = {"workflow_id", "definition", "version", "current_state", "status", "data"}


@contextmanager
def tools(url: str) -> Iterator[httpx2.Client]:
    """The server of the examples' tools, registered with a suite."""
    port = free()
    line = [sys.executable, str(EXAMPLES / "server.py"), "--port", str(port), "--register", url]
    process = subprocess.Popen(line, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert b"tools are at" in process.stdout.readline()
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            yield client
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def shop(echo: Suite) -> Iterator[httpx2.Client]:
    """That server, for all tests."""
    with tools(echo.url) as client:
        yield client


def defined(http: httpx2.Client, name: str) -> None:
    said = http.post("/v1/definitions", json={"yaml": (EXAMPLES / f"{name}.yaml").read_text()})
    assert said.status_code == 200, said.text


def started(http: httpx2.Client, name: str, **fields: Any) -> str:
    said = http.post("/v1/workflows", json={"definition": name, **fields})
    assert said.status_code == 200, said.text
    return str(said.json()["workflow_id"])


def told(http: httpx2.Client, workflow_id: str, verb: str, **body: Any) -> httpx2.Response:
    return http.post(f"/v1/workflows/{workflow_id}:{verb}", json=body)


def test_document_processing_runs_as_it_stands(http: httpx2.Client) -> None:
    defined(http, "document_processing")
    begun = http.post(
        "/v1/workflows", json={"definition": "document_processing", "data": {"doc_id": "doc_123"}}
    ).json()
    workflow_id = begun["workflow_id"]
    refused = told(http, workflow_id, "signal", target="approved")
    review = told(http, workflow_id, "signal", target="review", payload={"pages": 3}).json()
    approval = told(http, workflow_id, "signal", target="approved").json()
    done = told(http, workflow_id, "approve", comment="well written").json()

    assert begun.keys() >= WORKFLOW
    assert (begun["current_state"], begun["status"]) == ("draft", "waiting")
    assert refused.status_code == 400
    assert refused.json()["error_code"] == "TRANSITION_NOT_ALLOWED"
    assert (review["current_state"], review["data"]) == (
        "review",
        {"doc_id": "doc_123", "pages": 3},
    )
    assert (approval["code"], approval["error_code"]) == (400, "APPROVAL_REQUIRED")
    assert (done["current_state"], done["status"]) == ("approved", "completed")


def test_events_have_the_shape_of_the_contract_and_resume(http: httpx2.Client) -> None:
    defined(http, "document_processing")
    workflow_id = started(http, "document_processing", data={"doc_id": "doc_123"})
    told(http, workflow_id, "signal", target="review")
    told(http, workflow_id, "approve")
    path = f"/v1/workflows/{workflow_id}"

    listed = http.get(f"{path}/events").json()["events"]
    whole = watched(http, f"{path}:watch")
    rest = watched(http, f"{path}:watch", **{"Last-Event-ID": "2"})

    for each, event in zip(whole, listed, strict=True):
        for name, value in each.said.items():  # What is empty is left out in streams.
            assert name == "start" or value == event[name]
    assert [each.id for each in whole] == ["1", "2", "3", "4"]
    assert [each.data for each in rest] == [each.data for each in whole[2:]]
    assert [each.event for each in whole] == [event["type"] for event in listed]
    decided = listed[2]
    assert decided["event_type"] == "document_processing_approved"
    assert (decided["previous_state"], decided["next_state"]) == ("review", "approved")
    assert (decided["status"], decided["tenant"]) == ("approved", "default")
    assert decided["correlation_id"] == workflow_id
    assert (decided["orchestrator"], decided["sequence"]) == ("local", 3)
    metrics = {"transition_time_ms", "validation_time_ms", "compensation_time_ms"}
    assert all(set(event["metrics"]) == metrics for event in listed)
    assert decided["metrics"]["compensation_time_ms"] == 0


def test_document_publishing_asks_an_agent_and_a_person(
    http: httpx2.Client, shop: httpx2.Client
) -> None:
    defined(http, "document_publishing")
    workflow_id = started(http, "document_publishing", data={"doc_id": "d-1", "text": "Tea."})
    path = f"/v1/workflows/{workflow_id}"
    until(lambda: http.get(path).json()["waits_for"] == "approval")
    asked = http.get(path).json()
    told(http, workflow_id, "approve", comment="yes")

    events = watched(http, f"{path}:watch")

    assert asked["data"]["review"]["output"]["verdict"] in {"good", "poor"}
    entered = [each.said.get("next_state") for each in events if each.said.get("next_state")]
    assert entered == ["draft", "review", "approved", "published", "indexed"]
    types = [each.said["event_type"] for each in events]
    assert {"document_reviewed", "document_published"} <= set(types)
    assert http.get(path).json()["status"] == "completed"
    done = [each["tool"] for each in _journal(shop, workflow_id)]
    assert done == ["publish_document", "index_document"]


def test_an_order_that_cannot_be_shipped_is_undone_backwards(
    http: httpx2.Client, shop: httpx2.Client
) -> None:
    defined(http, "order_saga")
    shipped = started(http, "order_saga", data=ORDER)
    watched(http, f"/v1/workflows/{shipped}:watch")
    shop.put("/broken/ship_parcel")
    failed = started(http, "order_saga", data=ORDER)
    events = watched(http, f"/v1/workflows/{failed}:watch")
    shop.delete("/broken/ship_parcel")

    assert http.get(f"/v1/workflows/{shipped}").json()["status"] == "completed"
    assert http.get(f"/v1/workflows/{failed}").json()["status"] == "compensated"
    assert [each["tool"] for each in _journal(shop, failed)] == [
        "reserve_stock",
        "charge_card",
        "refund_card",
        "release_stock",
    ]
    undone = [each.said for each in events if each.event == "action_compensated"]
    assert [each["action"]["state"] for each in undone] == ["charging", "reserving"]
    assert all(each["metrics"]["compensation_time_ms"] > 0 for each in undone)
    verified = told(http, failed, "verify").json()
    assert (verified["consistent"], verified["problems"]) == (True, [])
    assert verified["events"] == verified["last_sequence"] == len(events)


def test_an_event_from_outside_finds_its_workflow(http: httpx2.Client) -> None:
    defined(http, "document_processing")
    workflow_id = started(http, "document_processing", correlation_id="e2e-7")
    body = {"event_type": "publish", "correlation_id": "e2e-7", "payload": {"by": "shop"}}

    said = http.post("/v1/events", json=body).json()
    until(lambda: http.get(f"/v1/workflows/{workflow_id}").json()["current_state"] == "publish")

    assert said["event_id"].startswith("evt_")
    assert http.get(f"/v1/workflows/{workflow_id}").json()["data"] == {"by": "shop"}


def test_a_definition_may_be_an_object_and_all_that_is_wrong_is_in_the_details(
    http: httpx2.Client,
) -> None:
    document = {"name": "plain", "state_machine": {"a": {"transitions": ["b"]}}}
    made = http.post("/v1/definitions", json={"definition": document}).json()
    text = "name: x\nstate_machine:\n  a: {transitions: [b], validater: approver}\n  b: {on: 1}\n"
    wrong = http.post("/v1/definitions", json={"yaml": text})

    assert (made["name"], made["version"], made["definition"]) == ("plain", 1, document)
    assert http.get("/v1/definitions/plain").json() == made
    assert (wrong.status_code, wrong.json()["error_code"]) == (400, "DEFINITION_INVALID")
    (bad,) = (each for each in wrong.json()["details"] if "field_violations" in each)
    assert len(bad["field_violations"]) >= 2
    first = bad["field_violations"][0]
    assert first["field"] == "yaml.state_machine.a.validater"
    assert "(line 3, column 25; did you mean validator?)" in first["description"]


def test_a_start_is_made_once_for_its_key(http: httpx2.Client) -> None:
    defined(http, "document_processing")
    body, key = {"definition": "document_processing"}, {"Idempotency-Key": "e2e-start"}

    one = http.post("/v1/workflows", json=body, headers=key).json()
    two = http.post("/v1/workflows", json=body, headers=key).json()
    other = http.post("/v1/workflows", json=body | {"data": {"n": 1}}, headers=key)
    mine = http.get("/v1/workflows", params={"filter": f'correlation_id = "{one["workflow_id"]}"'})

    assert one == two
    assert (other.status_code, other.json()["error_code"]) == (409, "IDEMPOTENCY_KEY_REUSED")
    assert len(mine.json()["workflows"]) == 1


def test_the_terminal_runs_an_order(echo: Suite, shop: httpx2.Client) -> None:
    url = {"RUNPLANE_URL": echo.url}
    made = outcome("workflow", "define", str(EXAMPLES / "order_saga.yaml"), **url)
    ran = outcome("workflow", "start", "order_saga", json.dumps(ORDER), "--watch", **url)
    workflow_id = ran[1].split()[0]
    shown = outcome("workflow", "show", workflow_id, **url)
    undone = outcome("workflow", "compensate", workflow_id, "--reason", "sorry", **url)
    again = outcome("workflow", "watch", workflow_id, "--json", **url)
    verified = outcome("workflow", "verify", workflow_id, **url)
    listed = outcome("workflow", "list", "--filter", "definition = order_saga", **url)

    assert (made[0], made[1].strip()) == (0, "order_saga@1")
    assert (ran[0], ran[1].rstrip().splitlines()[-1].split()[-1]) == (0, "completed")
    assert json.loads(shown[1])["status"] == "completed"
    assert undone[0] == 0
    assert "compensating" in undone[1]
    assert [json.loads(line)["sequence"] for line in again[1].splitlines()][:2] == [1, 2]
    assert (verified[0], "consistent" in verified[1]) == (0, True)
    assert workflow_id in listed[1]
    assert shop.get("/journal").status_code == 200


def test_the_terminal_moves_and_decides(echo: Suite) -> None:
    url = {"RUNPLANE_URL": echo.url}
    outcome("workflow", "define", str(EXAMPLES / "document_processing.yaml"), **url)
    begun = outcome("workflow", "start", "document_processing", '{"doc_id": "d"}', **url)
    name = begun[1].split()[0]
    moved = outcome("workflow", "signal", name, "review", "--payload", '{"n": 1}', **url)
    refused = outcome("workflow", "signal", name, "approved", **url)
    done = outcome("workflow", "reject", name, "--comment", "no", **url)
    late = outcome("workflow", "cancel", name, **url)

    assert moved[1].split()[2:] == ["review", "waiting", "for", "approval"]
    assert (refused[0], ":approve" in refused[2]) == (1, True)
    assert done[1].split()[2:] == ["rejected", "completed"]
    assert (late[0], "start another workflow" in late[2]) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("start", "nothing"), 1, "there is no definition nothing"),
        (("start", "nothing", "[1]"), 2, "is no JSON object"),
        (("start", "nothing", "{"), 2, "is not JSON"),
        (("start", "nothing@x"), 2, "is no version"),
        (("start", "nothing", "--label", "x"), 2, "is no label"),
        (("signal", "wf_1"), 2, "name the STATE"),
        (("watch", "wf_1"), 1, "there is no workflow wf_1"),
        (("verify", "wf_1"), 1, "there is no workflow wf_1"),
        (("list", "--filter", "data.x = 1"), 1, "refused"),
    ],
)
def test_the_terminal_says_what_is_wrong(
    echo: Suite, arguments: tuple[str, ...], code: int, said: str
) -> None:
    ended = outcome("workflow", *arguments, RUNPLANE_URL=echo.url)

    assert (ended[0], said in ended[2]) == (code, True), ended
    assert len(ended[2].splitlines()) <= 4


def _journal(shop: httpx2.Client, workflow_id: str) -> list[dict[str, Any]]:
    journal: list[dict[str, Any]] = shop.get("/journal").json()["journal"]
    return [each for each in journal if each["idempotency_key"].startswith(workflow_id)]
