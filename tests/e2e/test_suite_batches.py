"""Batches over a whole suite: at the edge, from the terminal, and over the death of a process."""

import json
import os
import signal
from collections import Counter
from pathlib import Path

import httpx2

from tests.e2e.running import Suite, outcome, suite, until


def events(client: httpx2.Client, batch_id: str) -> list[dict[str, object]]:
    """What happens to a batch until it ends, by SSE."""
    with client.stream("GET", f"/v1/batches/{batch_id}:watch") as reply:
        return [json.loads(line[5:]) for line in reply.iter_lines() if line.startswith("data:")]


def test_a_batch_is_started_followed_read_and_deleted_at_the_edge(http: httpx2.Client) -> None:
    sent = {
        "items": [
            {"key": "a", "messages": [{"role": "user", "content": "one two"}]},
            {"messages": [{"role": "user", "content": "three"}], "sampling": {"max_tokens": 1}},
        ],
        "labels": {"of": "e2e"},
    }

    batch = http.post("/v1/batches", json=sent).json()
    path = f"/v1/batches/{batch['batch_id']}"
    said = events(http, batch["batch_id"])
    shown = http.get(path).json()
    items = http.get(f"{path}/items").json()["items"]
    listed = http.get("/v1/batches", params={"filter": "labels.of = e2e"}).json()["batches"]
    deleted = http.delete(path)
    gone = http.get(path)

    assert (batch["status"], batch["state"]) == ("pending", "BATCH_STATE_PENDING")
    assert [event["sequence"] for event in said] == list(range(1, len(said) + 1))
    assert (shown["status"], shown["counts"]["completed"]) == ("completed", 2)
    assert [(each["key"], each["text"]) for each in items] == [("a", "one two"), ("1", "three")]
    assert listed == [shown]
    assert deleted.status_code == 200
    assert (gone.status_code, gone.json()["error_code"]) == (404, "BATCH_NOT_FOUND")


def test_a_refusal_at_the_edge_says_which_item(http: httpx2.Client) -> None:
    reply = http.post("/v1/batches", json={"items": [{"messages": [{"role": "boss"}]}]})

    error = reply.json()
    assert (reply.status_code, error["error_code"]) == (400, "INVALID_REQUEST")
    assert error["message"].startswith("items[0].messages[0].role: ")


def test_a_batch_from_the_terminal(echo: Suite, tmp_path: Path) -> None:
    url = {"RUNPLANE_URL": echo.url}
    questions = tmp_path / "questions.jsonl"
    body = {"messages": [{"role": "user", "content": "from a file"}]}
    lines: list[object] = ["said", {"custom_id": "b", "body": body}]
    questions.write_text("\n".join(map(json.dumps, lines)))

    code, out, _ = outcome("batch", "create", str(questions), "--watch", **url)
    batch_id = out.split()[0]
    items = outcome("batch", "items", batch_id, **url)[1].splitlines()
    results = outcome("batch", "items", batch_id, "--openai", **url)[1].splitlines()
    shown = json.loads(outcome("batch", "show", batch_id, **url)[1])
    canceled = outcome("batch", "cancel", batch_id, **url)
    wrong = outcome("batch", "create", "-", given='{"no": 1}', **url)

    assert (code, shown["status"]) == (0, "completed")
    assert [json.loads(line)["text"] for line in items] == ["said", "from a file"]
    answer = json.loads(results[1])["response"]["body"]["choices"][0]["message"]["content"]
    assert answer == "from a file"
    assert canceled[0] == 1
    assert "completed already" in canceled[2]
    assert wrong[0] == 2
    assert "line 1: no is not known" in wrong[2]


def test_a_batch_survives_the_death_of_its_process(tmp_path: Path) -> None:
    with (
        suite(tmp_path, "--engine", "echo") as running,
        httpx2.Client(base_url=running.url, timeout=30) as client,
    ):
        item = {"messages": [{"role": "user", "content": "sleep:100\ntokens:5"}]}
        batch = client.post("/v1/batches", json={"items": [item] * 1_000}).json()
        path = f"/v1/batches/{batch['batch_id']}"
        until(lambda: client.get(path).json()["counts"]["completed"] > 100)
        os.kill(running.run["pids"]["inference"], signal.SIGKILL)
        until(lambda: client.get(path).json().get("status") == "completed", seconds=60)
        said = events(client, batch["batch_id"])

    ended = Counter(str(e["item"]["index"]) for e in said if e["type"] == "item_completed")
    assert len(ended) == 1_000
    assert set(ended.values()) == {1}
