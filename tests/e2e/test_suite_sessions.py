"""Conversations over HTTP, with the echo engine and with the real model."""

import httpx2

from tests.e2e.streams import asked


def said(http: httpx2.Client, query: str, session_id: str = "", **fields: object) -> dict[str, str]:
    """A turn to its end."""
    body = {"query": query, "session_id": session_id, **fields}
    reply = http.post("/v1/agent/invoke", json=body)
    assert reply.status_code == 200, reply.text
    return {"session_id": reply.json()["metadata"]["session_id"], **reply.json()}


def test_a_conversation_over_http(http: httpx2.Client) -> None:
    key = {"Idempotency-Key": "a conversation over http"}
    created = http.post("/v1/sessions", json={"labels": {"team": "e2e"}}, headers=key).json()
    again = http.post("/v1/sessions", json={"labels": {"team": "e2e"}}, headers=key).json()
    session_id = created["session_id"]
    path = f"/v1/sessions/{session_id}"
    for query in ("One", "Two"):
        said(http, query, session_id)
    changed = http.patch(path, json={"on_busy": "enqueue"}).json()
    fork = http.post(f"{path}:fork", json={"message": 2}).json()
    messages = http.get(f"{path}/messages", params={"page_size": 3}).json()
    listed = http.get("/v1/sessions", params={"filter": "labels.team = e2e"}).json()
    deleted = http.delete(path)
    gone = http.get(path)

    assert created == again
    assert (created["on_busy"], created["turns"], created["owner"]) == ("reject", 0, "local")
    assert [(each["message"], each["role"], each["content"]) for each in messages["messages"]] == [
        (1, "user", "One"),
        (2, "assistant", "One"),
        (3, "user", "Two"),
    ]
    assert messages["next_page_token"]
    assert (changed["on_busy"], changed["labels"]) == ("enqueue", {"team": "e2e"})
    assert [each["session_id"] for each in listed["sessions"]] == [fork["session_id"], session_id]
    assert (fork["forked_from"], fork["turns"]) == (session_id, 1)
    assert (deleted.status_code, deleted.json()) == (200, {})
    assert (gone.status_code, gone.json()["error_code"]) == (404, "SESSION_NOT_FOUND")


def test_a_busy_session_is_refused_over_http_with_what_to_do(http: httpx2.Client) -> None:
    first = http.post("/v1/tasks", json={"query": "sleep:60000"}).json()
    session_id = first["session_id"]
    body = {"query": "x", "session_id": session_id}
    refused = http.post("/v1/agent/invoke", json=body).json()
    answer = said(http, "x", session_id, on_busy="interrupt")

    assert (refused["code"], refused["error_code"]) == (400, "SESSION_BUSY")
    assert first["task_id"] in refused["message"]
    assert "interrupt" in refused["suggested_fix"]
    assert answer["result"] == "x"
    assert http.get(f"/v1/tasks/{first['task_id']}").json()["status"] == "canceled"


def test_a_stream_can_be_the_next_turn(http: httpx2.Client) -> None:
    first = asked(http, "One")[0].said
    second = asked(http, "Two", session_id=first["session_id"])[0].said

    assert second["session_id"] == first["session_id"]
    assert second["place"]["turn"] == 2


def remembers(real: httpx2.Client, name: str) -> bool:
    """Whether the model knows a name that it was told one turn before."""
    first = said(real, f"My dog is called {name}.")
    return name in said(real, "What is the name of my dog?", first["session_id"])["result"]


def test_the_model_remembers_what_was_said_a_turn_before(real: httpx2.Client) -> None:
    names = ["Rex", "Luna", "Bella"]

    remembered = [name for name in names if remembers(real, name)]

    assert len(remembered) >= 2, remembered  # It is a very small model.
