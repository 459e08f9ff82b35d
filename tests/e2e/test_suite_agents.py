"""Agents through the whole suite: their lives, and one that calls another."""

import httpx2

from tests.e2e.streams import asked

HELPER = {
    "agent_id": "e2e_helper",
    "description": "Helps.",
    "instructions": "You help.",
    "tools": ["calculator"],
    "limits": {"steps": 3},
    "labels": {"team": "e2e"},
}


def test_an_agent_lives_over_http(http: httpx2.Client) -> None:
    made = http.post("/v1/agents", json=HELPER)
    again = http.post("/v1/agents", json=HELPER)
    read = http.get("/v1/agents/e2e_helper").json()
    changed = http.patch("/v1/agents/e2e_helper", json={**read, "instructions": "You help well."})
    late = http.patch("/v1/agents/e2e_helper", json={**read, "instructions": "You do not."})
    emptied = http.patch("/v1/agents/e2e_helper?update_mask=labels", json={})
    old = http.get("/v1/agents/e2e_helper?version=1")
    listed = http.get("/v1/agents", params={"filter": "agent_id = e2e_helper"}).json()
    deleted = http.delete("/v1/agents/e2e_helper")
    gone = http.get("/v1/agents/e2e_helper")

    assert (made.status_code, made.json()) == (200, read)
    assert {name: read[name] for name in HELPER} == HELPER
    assert (again.status_code, again.json()["error_code"]) == (409, "AGENT_ALREADY_EXISTS")
    assert (changed.json()["version"], changed.json()["instructions"]) == (2, "You help well.")
    assert (late.status_code, late.json()["error_code"]) == (409, "AGENT_VERSION_CONFLICT")
    assert (emptied.json()["version"], emptied.json()["labels"]) == (3, {})
    assert old.json() == read
    assert [(each["agent_id"], each["instructions"]) for each in listed["agents"]] == [
        ("e2e_helper", "")
    ]
    assert (deleted.status_code, deleted.json()) == (200, {})
    assert (gone.status_code, gone.json()["error_code"]) == (404, "AGENT_NOT_FOUND")


def test_an_agent_calls_another_over_http(http: httpx2.Client) -> None:
    http.post("/v1/agents", json={"agent_id": "e2e_hand"})
    http.post("/v1/agents", json={"agent_id": "e2e_lead", "tools": ["agent__e2e_hand"]})

    events = asked(
        http, 'tool:agent__e2e_hand {"query": "Hi"}\nDone.', agent_id="e2e_lead", timeout_ms=10_000
    )

    said = {each.event: each.said for each in events}
    child = http.get(f"/v1/tasks/{said['child_task']['child_task_id']}").json()
    assert (said["task_start"]["agent_id"], said["task_start"]["agent_version"]) == ("e2e_lead", 1)
    assert said["tool_result"]["output"] == {"answer": "Hi", "task_id": child["task_id"]}
    assert child["parent_task_id"] == said["task_start"]["task_id"]
    assert (child["agent_id"], child["status"]) == ("e2e_hand", "completed")


def test_what_an_agent_may_not_do_is_refused_over_http(http: httpx2.Client) -> None:
    http.post("/v1/agents", json={"agent_id": "e2e_narrow", "tools": ["calculator"]})

    body = {"query": "Hi", "agent_id": "e2e_narrow", "tools": ["current_time"]}
    reply = http.post("/v1/agent/invoke", json=body)

    assert (reply.status_code, reply.json()["error_code"]) == (400, "TOOL_NOT_ALLOWED")
    assert reply.json()["suggested_fix"] == "use some of calculator"
