"""Workflows and their events, as lines that people read. Pure."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

Json = Mapping[str, Any]

MOST: Final = 120
"""Characters of a value that a line shows."""


def workflow(found: Json) -> str:
    """Where a workflow stands."""
    about = str(found.get("status"))
    if about == "waiting":
        about += f" for {found.get('waits_for')}"
    elif error := found.get("error"):
        about += f": {error.get('reason')}"
    name = f"{found.get('definition')}@{found.get('version')}"
    return f"{found.get('workflow_id')}  {name}  {found.get('current_state')}  {about}"


def event(said: Json) -> str:
    """What happened, with its sequence and its time."""
    kind = str(said.get("type"))
    show = _SHOWN.get(kind)
    shown = show(said) if show else _other(said)
    time = str(said.get("timestamp"))[11:19]
    return f"{said.get('sequence'):>4}  {time}  {shown}"


def _other(said: Json) -> str:
    comment = f": {said.get('comment')}" if said.get("comment") else ""
    return f"{str(said.get('type')).replace('_', ' ')}{comment}"


def _started(said: Json) -> str:
    return f"● {said.get('next_state')} {_value(said.get('payload'))}".rstrip()


def _moved(said: Json) -> str:
    why = said.get("cause")
    who = f" by {said.get('orchestrator')}" if why in {"signal", "approval", "rejection"} else ""
    comment = f": {said.get('comment')}" if said.get("comment") else ""
    return f"{said.get('previous_state')} → {said.get('next_state')} ({why}{who}{comment})"


def _completed(said: Json) -> str:
    took = (said.get("metrics") or {}).get("action_time_ms") or 0.0
    payload = said.get("payload") or {}
    return f"✓ {_action(said)} {_value(payload.get('output', payload))} ({took:.1f} ms)"


def _again(said: Json) -> str:
    attempt = (said.get("action") or {}).get("attempt")
    return f"… {_action(said)} failed, attempt {attempt}: {_error(said)}"


def _failed(said: Json) -> str:
    is_uncertain = (said.get("action") or {}).get("is_uncertain")
    return f"✗ {_action(said)}: {_error(said)}" + (" (may have been done)" if is_uncertain else "")


def _undoing(said: Json) -> str:
    return f"↶ compensating ({said.get('cause')})"


def _undone(said: Json) -> str:
    action = said.get("action") or {}
    return f"↶ {_action(said)}, which undoes {action.get('state')}"


def _stuck(said: Json) -> str:
    return f"✗ {_action(said)} failed, a person has to look: {_error(said)}"


def _refused(said: Json) -> str:
    return f"✗ not to {said.get('target')}: {_error(said)}"


def _signal(said: Json) -> str:
    words = {"signal_deferred": "kept for later", "signal_dropped": "dropped"}
    return f"signal {said.get('signal') or said.get('target')} {words[str(said.get('type'))]}"


def _child(said: Json) -> str:
    return f"started {said.get('child_workflow_id')}"


def _ended(said: Json) -> str:
    why = f": {_error(said)}" if said.get("error") else ""
    return f"{said.get('status')}{why}"


def _action(said: Json) -> str:
    return str((said.get("action") or {}).get("name"))


def _error(said: Json) -> str:
    error = said.get("error") or {}
    return f"{error.get('reason')}: {error.get('message')}"


def _value(value: object) -> str:
    if value in ({}, None):
        return ""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MOST else f"{text[: MOST - 1]}…"


_SHOWN: Final[Mapping[str, Callable[[Json], str]]] = {
    "workflow_started": _started,
    "transition": _moved,
    "action_completed": _completed,
    "action_attempt_failed": _again,
    "action_failed": _failed,
    "child_started": _child,
    "validation_rejected": _refused,
    "signal_deferred": _signal,
    "signal_dropped": _signal,
    "compensation_started": _undoing,
    "action_compensated": _undone,
    "compensation_attempt_failed": _again,
    "compensation_failed": _stuck,
    "workflow_ended": _ended,
}
