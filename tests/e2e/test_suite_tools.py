"""Tools that are registered through the whole suite."""

from typing import Any

import httpx2
import pytest

from tests.e2e.running import stop, suite

DOOR: dict[str, Any] = {
    "name": "e2e_door",
    "description": "Opens a door.",
    "client": {},
    "tags": ["e2e"],
    "input_schema": {
        "type": "object",
        "properties": {"which": {"type": "string"}},
        "required": ["which"],
        "additionalProperties": False,
    },
}
NARROWER = {**DOOR["input_schema"], "properties": {"which": {"enum": ["front"]}}}


def test_a_tool_lives_over_http(http: httpx2.Client) -> None:
    key = {"Idempotency-Key": "e2e_door"}
    made = http.post("/v1/tools", json=DOOR, headers=key)
    again = http.post("/v1/tools", json=DOOR, headers=key)
    taken = http.post("/v1/tools", json=DOOR)
    worded = http.patch("/v1/tools/e2e_door", json={"title": "Door"})
    broken = http.patch("/v1/tools/e2e_door", json={"input_schema": NARROWER})
    major = http.patch("/v1/tools/e2e_door", json={"input_schema": NARROWER, "version": "2.0.0"})
    old = http.get("/v1/tools/e2e_door", params={"version": "^1"})
    marked = http.post("/v1/tools/e2e_door:deprecate", json={"version": "2.0.0", "message": "no"})
    versions = http.get("/v1/tools/e2e_door/versions").json()["tools"]
    listed = http.get("/v1/tools", params={"filter": "tags.e2e = true"}).json()["tools"]
    deleted = http.delete("/v1/tools/e2e_door")
    gone = http.get("/v1/tools/e2e_door")

    assert made.json() == again.json()
    assert {name: made.json()[name] for name in DOOR} == DOOR
    assert (taken.status_code, taken.json()["error_code"]) == (409, "TOOL_ALREADY_EXISTS")
    assert (worded.json()["version"], worded.json()["title"]) == ("1.1.0", "Door")
    assert (broken.status_code, broken.json()["error_code"]) == (400, "TOOL_CHANGE_BREAKING")
    assert broken.json()["schema_path"] == ["properties", "which", "enum"]
    assert "2.0.0" in broken.json()["suggested_fix"]
    assert (major.json()["version"], old.json()["version"]) == ("2.0.0", "1.1.0")
    assert (marked.json()["state"], marked.json()["deprecation"]) == ("TOOL_STATE_DEPRECATED", "no")
    assert [each["version"] for each in versions] == ["2.0.0", "1.1.0", "1.0.0"]
    assert [f"{each['name']} {each['version']}" for each in listed] == ["e2e_door 1.1.0"]
    assert (deleted.status_code, deleted.json()) == (200, {})
    assert (gone.status_code, gone.json()["error_code"]) == (404, "TOOL_NOT_FOUND")


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "thing"}, "is not a JSON Schema"),
        ({"type": "object", "description": "x" * 1_000_000}, "at most 65,536 are allowed"),
        ({"type": "object", "properties": {"a": {"$ref": "https://x.example"}}}, "refers to"),
    ],
    ids=["no schema", "1 MB", "remote"],
)
def test_a_schema_that_cannot_be_is_refused_and_named(
    http: httpx2.Client, schema: dict[str, Any], problem: str
) -> None:
    answer = http.post("/v1/tools", json={**DOOR, "input_schema": schema})

    assert (answer.status_code, answer.json()["error_code"]) == (400, "SCHEMA_INVALID")
    assert problem in answer.json()["message"]
    assert answer.json()["suggested_fix"]
    assert http.get("/v1/tools/e2e_door").status_code == 404


def test_tools_are_there_after_a_restart(tmp_path: Any) -> None:
    with (
        suite(tmp_path, "--engine", "echo") as running,
        httpx2.Client(base_url=running.url) as http,
    ):
        assert http.post("/v1/tools", json=DOOR).status_code == 200
        stop(running)
    with (
        suite(tmp_path, "--engine", "echo") as running,
        httpx2.Client(base_url=running.url) as http,
    ):
        assert http.get("/v1/tools/e2e_door").json()["input_schema"] == DOOR["input_schema"]
