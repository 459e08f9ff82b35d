"""Workflows and their events, as people read them."""

from typing import Any

import pytest

from services.cli import workflow_lines as lines

AT = {"sequence": 3, "timestamp": "2026-01-02T03:04:05.678Z"}
ACTION = {"action": {"name": "charge_card", "attempt": 2, "state": "charging"}}
ERROR = {"error": {"reason": "NO_CARD", "message": "there is none"}}


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        ({"type": "workflow_started", "next_state": "a", "payload": {"n": 1}}, '● a {"n": 1}'),
        ({"type": "workflow_started", "next_state": "a"}, "● a"),
        (
            {
                "type": "transition",
                "previous_state": "a",
                "next_state": "b",
                "cause": "approval",
                "orchestrator": "ada",
                "comment": "fine",
            },
            "a → b (approval by ada: fine)",
        ),
        (
            {"type": "transition", "previous_state": "a", "next_state": "b", "cause": "timeout"},
            "a → b (timeout)",
        ),
        (
            {
                "type": "action_completed",
                "payload": {"output": {"ok": True}},
                "metrics": {"action_time_ms": 1.26},
                **ACTION,
            },
            '✓ charge_card {"ok": true} (1.3 ms)',
        ),
        (
            {"type": "action_attempt_failed", **ACTION, **ERROR},
            "… charge_card failed, attempt 2: NO_CARD: there is none",
        ),
        ({"type": "action_failed", **ACTION, **ERROR}, "✗ charge_card: NO_CARD: there is none"),
        (
            {"type": "action_failed", "action": {"name": "x", "is_uncertain": True}, **ERROR},
            "✗ x: NO_CARD: there is none (may have been done)",
        ),
        ({"type": "child_started", "child_workflow_id": "wf_2"}, "started wf_2"),
        ({"type": "signal_deferred", "signal": "paid"}, "signal paid kept for later"),
        ({"type": "signal_dropped", "target": "b"}, "signal b dropped"),
        (
            {"type": "validation_rejected", "target": "b", **ERROR},
            "✗ not to b: NO_CARD: there is none",
        ),
        ({"type": "compensation_started", "cause": "cancel"}, "↶ compensating (cancel)"),
        ({"type": "action_compensated", **ACTION}, "↶ charge_card, which undoes charging"),
        (
            {"type": "compensation_failed", **ACTION, **ERROR},
            "✗ charge_card failed, a person has to look: NO_CARD: there is none",
        ),
        ({"type": "workflow_ended", "status": "failed", **ERROR}, "failed: NO_CARD: there is none"),
        ({"type": "cancel_requested", "comment": "enough"}, "cancel requested: enough"),
        ({"type": "of_a_later_release"}, "of a later release"),
    ],
)
def test_an_event_is_a_line(event: dict[str, Any], shown: str) -> None:
    assert lines.event(AT | event) == f"   3  03:04:05  {shown}"


def test_long_values_are_cut() -> None:
    line = lines.event(AT | {"type": "workflow_started", "payload": {"x": "y" * 1000}})

    assert len(line) < 200
    assert line.endswith("…")


@pytest.mark.parametrize(
    ("about", "shown"),
    [
        ({"status": "waiting", "waits_for": "approval"}, "waiting for approval"),
        ({"status": "running", "waits_for": ""}, "running"),
        ({"status": "failed", **ERROR}, "failed: NO_CARD"),
        (
            {"status": "compensation_failed", "waits_for": "person", **ERROR},
            "compensation_failed: NO_CARD",
        ),
    ],
)
def test_a_workflow_is_a_line(about: dict[str, Any], shown: str) -> None:
    found = {"workflow_id": "wf_1", "definition": "saga", "version": 2, "current_state": "a"}

    assert lines.workflow(found | about) == f"wf_1  saga@2  a  {shown}"
