"""What a suite keeps, in every state there is; and that another version finds it so."""

from collections.abc import Callable
from typing import Any

import httpx2

from tests.e2e.journeys import Journeys, wait
from tests.e2e.streams import Event, is_contiguous, read, watched
from tests.servers.counting import Counting

SCRIPT = 'tool:calculator {"expression": "12*7"}\n12 times 7 is 84.'
KEYED = {"Idempotency-Key": "before the update"}
DOCUMENTS = """
name: documents
state_machine:
  draft:  {transitions: [review], timeout: {after: 400d, target: late}}
  review: {transitions: [approved, rejected], validator: approver}
  late:   {terminal: failure}
"""
STUCK = """
name: stuck
initial: acting
state_machine:
  acting:
    on_enter:
      - tool: count
        input: {order: "${data.order}", step: 1, fate: ok}
        compensation:
          tool: count
          input: {order: "${data.order}", step: 1, undo: true, fate: refuse}
          retry: {attempts: 1}
    on_success: acted
  acted: {transitions: [failed]}
  failed: {terminal: failure}
"""
CLOSED = ("completed", "failed", "canceled")


class Belongings:
    """Tasks, sessions, agents, tools, batches and workflows, through the edge of a suite."""

    def __init__(self, http: httpx2.Client, tool: Counting) -> None:
        self.http = http
        self.tool = tool
        self.tasks: dict[str, str] = {}
        self.workflows: dict[str, str] = {}
        self.journeys = Journeys(http, tool)
        self.session = self.batch = ""
        self.before: dict[str, Any] = {}

    def make(self) -> None:
        """All of it."""
        self.journeys.begin()
        self._make_workflows()
        self._make_tasks()
        lines = [{"key": str(n), "messages": [{"role": "user", "content": "hi"}]} for n in range(2)]
        self.batch = self._post("/v1/batches", {"items": lines})["batch_id"]
        wait(lambda: self._get(f"/v1/batches/{self.batch}")["status"] == "completed")
        self.before = self.seen()

    def go_over_to(self, http: httpx2.Client) -> None:
        """The suite has another edge from now on."""
        self.http = self.journeys.http = http

    def seen(self) -> dict[str, Any]:
        """What does not change any more, as the edge shows it."""
        paths = [
            *(f"/v1/tasks/{self.tasks[name]}" for name in CLOSED),
            *(f"/v1/workflows/{self.workflows[name]}" for name in ("canceled", "stuck")),
            f"/v1/workflows/{self.workflows['canceled']}/events",
            f"/v1/sessions/{self.session}/messages",
            f"/v1/batches/{self.batch}",
            "/v1/agents/helper",
            "/v1/tools/count",
            "/v1/definitions/documents",
        ]
        return {path: self._get(path) for path in paths} | {
            each: self._log(each) for each in CLOSED
        }

    def check(self, *, is_back: bool) -> None:
        """All is as it was, and what had not ended goes on to its end."""
        older, newer = (self.seen(), self.before) if is_back else (self.before, self.seen())
        assert says(newer, older)
        assert self._post("/v1/agent/invoke", {"query": SCRIPT}, KEYED)["task_id"] == self.keyed
        assert self._state("waiting") == "waiting"
        approval = {"tool_call_id": self.call_id}
        self._post(f"/v1/tasks/{self.tasks['waiting']}:approve", approval)
        for name in ("waiting", "running", "pending"):
            wait(lambda name=name: self._state(name) == "completed")  # type: ignore[misc]
            log = self._log(name)
            assert log[-1]["type"] == "task_complete"
            assert is_contiguous(log)
        self.journeys.finish()
        self.journeys.check()
        self._check_workflows()

    def _make_tasks(self) -> None:
        task = self._task
        self.keyed = self._post("/v1/agent/invoke", {"query": SCRIPT}, KEYED)["task_id"]
        turn = self._post("/v1/agent/invoke", {"query": SCRIPT})
        self.tasks["completed"], self.session = turn["task_id"], turn["metadata"]["session_id"]
        self.tasks["failed"] = task({"query": "fail\nno"})
        self.tasks["canceled"] = task({"query": "sleep:60000\nlate"})
        self._post(f"/v1/tasks/{self.tasks['canceled']}:cancel", {"reason": "enough"})
        self.tasks["waiting"] = task({"query": SCRIPT, "approval_tools": ["calculator"]})
        for name in ("completed", "failed", "canceled", "waiting"):
            wait(lambda name=name: self._state(name) == name)  # type: ignore[misc]
        self.call_id = self._asked_for(self.tasks["waiting"])
        busy = self._post("/v1/sessions", {"on_busy": "enqueue"})["session_id"]
        self.tasks["running"] = task({"query": "tokens:3000", "session_id": busy})
        self.tasks["pending"] = task({"query": SCRIPT, "session_id": busy})
        wait(lambda: self._get(f"/v1/tasks/{self.tasks['running']}")["last_sequence"] > 5)
        assert [self._state(name) for name in ("running", "pending")] == ["running", "pending"]

    def _make_workflows(self) -> None:
        for yaml in (DOCUMENTS, STUCK):
            self._post("/v1/definitions", {"yaml": yaml})
        for name in ("timed", "review", "canceled"):
            self.workflows[name] = self._begin("documents")
        self._tell("review", "signal", target="review")
        self._tell("canceled", "cancel", reason="enough")
        self.workflows["stuck"] = self._begin("stuck", order="stuck")
        self._until("stuck", lambda shown: shown["current_state"] == "acted")
        self._tell("stuck", "signal", target="failed")
        self._until("stuck", lambda shown: shown["status"] == "compensation_failed")

    def _check_workflows(self) -> None:
        self._tell("review", "approve", comment="fine")
        self._tell("timed", "signal", target="review")
        self._tell("timed", "reject")
        self.tool.is_mended = True
        self._tell("stuck", "compensate", reason="it works now")
        for name, status in (("review", "completed"), ("stuck", "compensated")):
            self._until(name, lambda shown, status=status: shown["status"] == status)  # type: ignore[misc]
        for name in self.workflows:
            found = self._tell(name, "verify")
            assert (found["consistent"], found["problems"]) == (True, []), name

    def _asked_for(self, task_id: str) -> str:
        with self.http.stream("GET", f"/v1/tasks/{task_id}:watch") as reply:
            asked = (each.said for each in read(reply.iter_lines()))
            return str(
                next(each["tool_call_id"] for each in asked if each["type"] == "approval_required")
            )

    def _log(self, name: str) -> list[Event]:
        path = f"/v1/tasks/{self.tasks[name]}:watch"
        return [event.said for event in watched(self.http, path)]

    def _state(self, name: str) -> str:
        return str(self._get(f"/v1/tasks/{self.tasks[name]}")["status"])

    def _task(self, body: dict[str, Any]) -> str:
        return str(self._post("/v1/tasks", body)["task_id"])

    def _begin(self, definition: str, **data: str) -> str:
        began = self._post("/v1/workflows", {"definition": definition, "data": data})
        return str(began["workflow_id"])

    def _tell(self, name: str, verb: str, **body: str) -> dict[str, Any]:
        return self._post(f"/v1/workflows/{self.workflows[name]}:{verb}", body)

    def _until(self, name: str, holds: Callable[[dict[str, Any]], bool]) -> None:
        wait(lambda: holds(self._get(f"/v1/workflows/{self.workflows[name]}")))

    def _get(self, path: str) -> dict[str, Any]:
        reply = self.http.get(path)
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    def _post(
        self, path: str, body: dict[str, Any], headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        reply = self.http.post(path, json=body, headers=headers)
        assert reply.status_code == 200, reply.text
        return dict(reply.json())


def says(more: object, less: object) -> bool:
    """Whether one says all that the other says: a later version may know of more fields."""
    if isinstance(more, dict) and isinstance(less, dict):
        return less.keys() <= more.keys() and all(says(more[name], less[name]) for name in less)
    if isinstance(more, list) and isinstance(less, list):
        return len(more) == len(less) and all(map(says, more, less))
    return more == less
