"""What a waiting task asks for, read off its log: answers for a tool, or leave to call one."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Wire = dict[str, Any]

_SHOWN: Final = 1_000
_APPROVAL: Final[Wire] = {
    "type": "object",
    "properties": {
        "approved": {"type": "boolean", "title": "Allow the call", "default": False},
        "comment": {"type": "string", "title": "Why", "maxLength": 1_000},
    },
    "required": ["approved"],
}
# What ends a request, by the event's type.
_ENDING: Final = frozenset({"approval_decided", "input_given", "tool_result"})


@dataclass(frozen=True, slots=True)
class Request:
    """Something that one call of a tool waits for."""

    task_id: str
    tool_call_id: str
    sequence: int
    """Of the event: no two requests of a task have the same, so that no two keys are the same."""
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
        content = response.get("content") or {}
        is_allowed = response.get("action") == "accept" and content.get("approved") is True
        return is_allowed, str(content.get("comment") or "")[:_SHOWN]

    def _key(self, name: str) -> str:
        return f"{self.tool_call_id}.{self.sequence}.{name}"


def outstanding(events: Iterable[Mapping[str, Any]]) -> list[Request]:
    """What has been asked for and not answered, in the order of the log."""
    waiting: dict[str, Request] = {}
    inputs: dict[str, Any] = {}
    for event in events:
        kind, call = event.get("type"), event.get("tool_call_id", "")
        if kind == "tool_call":
            inputs[call] = event.get("input", {})
        elif kind == "approval_required":
            question = _approval(event, inputs.get(call))
            waiting[call] = _request(event, {"approval": question}, is_approval=True)
        elif kind == "input_required" and (wanted := event.get("input_requests")):
            waiting[call] = _request(event, wanted)
        elif kind in _ENDING:
            waiting.pop(call, None)
    return list(waiting.values())


def _request(
    event: Mapping[str, Any], wanted: Mapping[str, Wire], *, is_approval: bool = False
) -> Request:
    return Request(
        event.get("task_id", ""),
        event.get("tool_call_id", ""),
        event.get("sequence", 0),
        wanted,
        is_approval=is_approval,
    )


def _approval(event: Mapping[str, Any], given: Any) -> Wire:
    """The question whether a call may run."""
    shown = json.dumps(given, ensure_ascii=False)[:_SHOWN]
    message = f"May {event.get('tool_name', 'a tool')} be called with {shown}?"
    params = {"mode": "form", "message": message, "requestedSchema": _APPROVAL}
    return {"method": "elicitation/create", "params": params}
