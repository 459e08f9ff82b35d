"""What a waiting task asks for: answers for a tool, or leave to call one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

Wire = dict[str, Any]

_SHOWN: Final = 1_000
_APPROVAL: Final = "approval"
_DECISION: Final[Wire] = {
    "type": "object",
    "properties": {
        "approved": {"type": "boolean", "title": "Allow the call", "default": False},
        "comment": {"type": "string", "title": "Why", "maxLength": 1_000},
    },
    "required": ["approved"],
}


@dataclass(frozen=True, slots=True)
class Question:
    """Something that one call of a tool waits for."""

    task_id: str
    tool_call_id: str
    round: int
    """How often the tool has asked: it may do so by the same name again, under another key. 0 is
    the question whether it may be called."""
    wanted: Mapping[str, Wire]
    """MCP input requests, by the tool's names."""
    is_approval: bool = False

    @property
    def wire(self) -> dict[str, Wire]:
        """As clients see it."""
        return {self._key(name): dict(request) for name, request in self.wanted.items()}

    def answered(self, responses: Mapping[str, Wire]) -> dict[str, Wire]:
        """Those of the responses that are for this, by the tool's names."""
        return {
            name: responses[key] for name in self.wanted if (key := self._key(name)) in responses
        }

    def decision(self, given: Mapping[str, Wire]) -> tuple[bool, str]:
        """Of an approval: whether the call may run, and why."""
        (response,) = given.values()
        said = response.get("content")
        content = said if isinstance(said, Mapping) else {}
        is_allowed = response.get("action") == "accept" and content.get("approved") is True
        return is_allowed, str(content.get("comment") or "")[:_SHOWN]

    def _key(self, name: str) -> str:
        return f"{self.tool_call_id}.{self.round}.{name}"


def outstanding(task: Mapping[str, Any]) -> list[Question]:
    """What a task waits for that its client can be asked."""
    pending = task.get("pending_requests", ())
    return [_question(task, each) for each in pending if _is_question(each)]


def _is_question(pending: Mapping[str, Any]) -> bool:
    """Whether it is one: results of tools that clients run are not asked for over MCP."""
    return pending["wants"] == _APPROVAL or bool(pending.get("input_requests"))


def _question(task: Mapping[str, Any], pending: Mapping[str, Any]) -> Question:
    is_approval = pending["wants"] == _APPROVAL
    wanted = {_APPROVAL: _approval(pending)} if is_approval else pending["input_requests"]
    number = 0 if is_approval else pending["round"]
    return Question(
        task["task_id"], pending["tool_call_id"], number, wanted, is_approval=is_approval
    )


def _approval(pending: Mapping[str, Any]) -> Wire:
    """The question whether a call may run."""
    shown = json.dumps(pending.get("input", {}), ensure_ascii=False)[:_SHOWN]
    message = f"May {pending['tool_name']} be called with {shown}?"
    params = {"mode": "form", "message": message, "requestedSchema": _DECISION}
    return {"method": "elicitation/create", "params": params}
