"""Large answers through the whole suite: kept in the state folder, read through the edge."""

import hashlib

import httpx2

from tests.e2e.running import Suite

WORDS = " ".join(f"tok{number}" for number in range(1, 20_001))
ASKED = {"query": "tokens:20000", "tool_choice": "none", "sampling": {"max_tokens": 30_000}}


def test_an_answer_over_64_kib_is_read_in_parts_and_is_a_file_under_its_hash(
    echo: Suite, http: httpx2.Client
) -> None:
    answer = http.post("/v1/agent/invoke", json=ASKED).json()
    listed = http.get("/v1/tasks", params={"page_size": 1}).json()["tasks"][0]
    reference = listed["result_reference"]
    path = f"/v1/tasks/{answer['task_id']}/objects/{reference['sha256']}"
    first = http.get(path, params={"length": 100_000}).json()
    second = http.get(path, params={"offset": first["next_offset"], "length": 100_000}).json()
    kept = echo.state / "objects" / "tenant.default" / reference["sha256"][:2]

    assert first["text"] + second["text"] == WORDS
    assert "next_offset" not in second
    assert answer["result"] == WORDS
    assert (listed["task_id"], listed["result"]) == (answer["task_id"], WORDS[:4000])
    assert reference["size_bytes"] == len(WORDS)
    assert hashlib.sha256(WORDS.encode()).hexdigest() == reference["sha256"]
    assert (kept / reference["sha256"]).read_text() == WORDS


def test_a_hash_that_no_log_has_is_a_clear_error(http: httpx2.Client) -> None:
    task = http.post("/v1/agent/invoke", json={"query": "Hello"}).json()
    reply = http.get(f"/v1/tasks/{task['task_id']}/objects/{'0' * 64}")

    assert (reply.status_code, reply.json()["error_code"]) == (404, "OBJECT_NOT_FOUND")
    assert reply.json()["suggested_fix"]
