"""Workflows with an action, an agent, an event and a compensation, each at another point of its
way when something happens to the suite; and what holds of them in the end."""

from collections.abc import Callable
from typing import Any

import httpx2

from tests.e2e.running import until
from tests.servers.counting import Counting

YAML = """
name: journey
initial: acting
state_machine:
  acting:
    on_enter:
      - tool: count
        input: {order: "${data.order}", step: 1, fate: "${data.first}"}
        save_as: acted
        compensation:
          tool: count
          input: {order: "${data.order}", step: 1, undo: true, fate: "${data.undo}"}
    on_success: asking
  asking:
    on_enter: [{agent: helper, query: "${data.query}", save_as: said}]
    on_success: waiting
  waiting: {transitions: [last], on: {go: last}}
  last:
    on_enter:
      - tool: count
        input: {order: "${data.order}", step: 2, fate: "${data.last}"}
        compensation:
          tool: count
          input: {order: "${data.order}", step: 2, undo: true, fate: ok}
    on_success: arrived
  arrived: {terminal: success}
"""
LONG = "word " * 2_500
GOES: dict[str, dict[str, str]] = {
    "acting": {"first": "late"},
    "asking": {"query": LONG, "last": "refuse"},
    "waiting": {"last": "refuse"},
    "undoing": {"last": "refuse", "undo": "late"},
    "arrived": {},
}
"""Where each is meanwhile, and what is special about it."""
ENDS = {
    "acting": "completed",
    "asking": "compensated",
    "waiting": "compensated",
    "undoing": "compensated",
    "arrived": "completed",
}
DONE, UNDONE = [(1, False), (2, False)], [(1, False), (1, True)]


def wait(holds: Callable[[], object]) -> None:
    """Until something holds, however busy the machine is with two suites."""
    until(holds, seconds=60)


class Journeys:
    """Workflows by where they are, through the edge of a suite."""

    def __init__(self, http: httpx2.Client, tool: Counting) -> None:
        self.http = http
        self.tool = tool
        self.ids: dict[str, str] = {}

    def begin(self) -> None:
        """Start all of them, and wait until each is where it is to be."""
        self._prepare()
        for name in ("waiting", "undoing", "arrived"):
            self._start(name)
            self._until(name, "current_state", "waiting")
        for name in ("undoing", "arrived"):
            self.go(name)
        self._until("arrived", "status", "completed")
        wait(lambda: ("undoing", 1, True) in self._effects())
        for name in ("acting", "asking"):
            self._start(name)
        self._until("asking", "current_state", "asking", "waiting")  # It may be slow to be asked.
        wait(lambda: ("acting", 1, False) in self._effects())

    def finish(self) -> None:
        """Bring all of them to their ends."""
        for name in ("acting", "asking", "waiting"):
            self._until(name, "current_state", "waiting")
            self.go(name)
        for name, status in ENDS.items():
            self._until(name, "status", status)

    def go(self, name: str) -> None:
        """Tell it the event that it waits for."""
        self._post(f"/v1/workflows/{self.ids[name]}:signal", {"event": "go"})

    def shown(self, name: str) -> dict[str, Any]:
        """As it stands; nothing while it cannot be asked for."""
        reply = self.http.get(f"/v1/workflows/{self.ids[name]}")
        return dict(reply.json()) if reply.status_code == 200 else {}

    def events(self, name: str) -> list[dict[str, Any]]:
        """Its log."""
        reply = self.http.get(f"/v1/workflows/{self.ids[name]}/events")
        return list(reply.json()["events"])

    def check(self) -> None:
        """All have ended as they had to, did everything once, and are consistent."""
        for name, status in ENDS.items():
            events = self.events(name)
            found = self._post(f"/v1/workflows/{self.ids[name]}:verify", {})
            assert self.shown(name)["status"] == status
            assert [each["sequence"] for each in events] == list(range(1, len(events) + 1))
            assert "projection_repaired" not in {each["type"] for each in events}
            assert (found["consistent"], found["problems"]) == (True, [])
            effects = [(step, undo) for order, step, undo in self._effects() if order == name]
            assert effects == (DONE if status == "completed" else UNDONE), name

    def _start(self, name: str) -> None:
        data = {"order": name, "first": "ok", "last": "ok", "undo": "ok", "query": "hi"}
        begun = {"definition": "journey", "data": data | GOES[name]}
        self.ids[name] = self._post("/v1/workflows", begun)["workflow_id"]

    def _until(self, name: str, field: str, *values: str) -> None:
        wait(lambda: self.shown(name).get(field) in values)

    def _effects(self) -> list[tuple[str, int, bool]]:
        done = list(self.tool.effects.values())
        return [(each.order, each.step, each.is_undo) for each in done]

    def _prepare(self) -> None:
        tool = {
            "name": "count",
            "version": "1.0.0",
            "description": "Counts.",
            "is_idempotent": True,
            "input_schema": {"type": "object"},
            "http": {"method": "POST", "url": self.tool.url},
        }
        self._post("/v1/tools", tool)
        self._post("/v1/agents", {"agent_id": "helper"})
        self._post("/v1/definitions", {"yaml": YAML})

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        reply = self.http.post(path, json=body)
        assert reply.status_code == 200, reply.text
        return dict(reply.json())
