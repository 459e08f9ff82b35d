"""Recorded logs of tasks, one for each change of what is stored: every one must still replay.

They are written once, and never changed: see the README beside them.
"""

from pathlib import Path
from typing import Any

import pytest

from services.chassis.eventlog.port import NewEvent
from services.orchestrator.adapters import codec
from services.orchestrator.domain.task import CLOSED, State, Task, replay
from services.orchestrator.mapping import tasks as mapping
from tests.histories.reading import TASKS as FILES
from tests.histories.reading import document


def recorded(path: Path) -> tuple[dict[str, Any], list[NewEvent]]:
    """What a log is known to add up to, and its events."""
    found, events = document(path)
    return found["adds_up_to"], events


def facts(task: Task) -> dict[str, Any]:
    return {
        "status": task.state.value,
        "sequence": task.sequence,
        "text": task.text,
        "tokens": task.tokens,
        "steps": len(task.steps),
        "warnings": len(task.warnings),
    }


@pytest.mark.parametrize("path", FILES, ids=lambda each: each.stem)
def test_a_recorded_log_adds_up_to_what_it_did(path: Path) -> None:
    known, events = recorded(path)

    assert facts(replay([codec.decode(event, "default") for event in events])) == known


@pytest.mark.parametrize("path", FILES, ids=lambda each: each.stem)
def test_no_beginning_of_a_log_is_shown_as_ended(path: Path) -> None:
    events = [codec.decode(event, "default") for event in recorded(path)[1]]

    shown = [mapping.task(replay(events[:length])) for length in range(1, len(events) + 1)]

    assert [task.last_sequence for task in shown] == list(range(1, len(events) + 1))
    assert not [task for task in shown[:-1] if State(task.status) in CLOSED]


def test_every_event_that_can_be_stored_is_in_some_recorded_log() -> None:
    stored = {event.type for path in FILES for event in recorded(path)[1]}

    assert stored == {name for name, _ in codec.NAMES.values()}
