"""Recorded logs of tools, one for each change of what is stored: every one must still replay.

They are written once, and never changed: see the README beside them.
"""

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from services.chassis.eventlog.port import Snapshot, StoredEvent
from services.tool_registry.adapters import toolcodec as codec
from services.tool_registry.domain.line import Line

FOLDER = Path(__file__).parents[2] / "histories"
FILES = sorted(FOLDER.glob("tool_*.json"))


def recorded(path: Path) -> tuple[dict[str, Any], list[StoredEvent]]:
    """What a log is known to add up to, and its events."""
    document = json.loads(path.read_text())
    events = [
        StoredEvent(
            "default",
            "tool/weather",
            sequence,
            sequence,
            each["type"],
            datetime.fromisoformat(each["time"]),
            base64.b64decode(each["body"]),
        )
        for sequence, each in enumerate(document["events"], 1)
    ]
    return document["adds_up_to"], events


def replayed(events: list[StoredEvent]) -> Line:
    line = Line("weather")
    for event in events:
        line = line.evolved(codec.decode(event))
    return line


@pytest.mark.parametrize("path", FILES, ids=lambda each: each.stem)
def test_a_recorded_log_adds_up_to_what_it_did(path: Path) -> None:
    known, events = recorded(path)

    assert json.loads(codec.encode_line(replayed(events))) == known


@pytest.mark.parametrize("path", FILES, ids=lambda each: each.stem)
def test_a_recorded_line_reads_as_its_log_does(path: Path) -> None:
    known, events = recorded(path)

    read = codec.decode_line("weather", Snapshot(len(events), json.dumps(known).encode()))

    assert read == replayed(events)


def test_every_event_that_can_be_stored_is_in_some_recorded_log() -> None:
    stored = {event.type for path in FILES for event in recorded(path)[1]}

    assert stored == {
        codec.REGISTERED,
        codec.UPDATED,
        codec.DEPRECATED,
        codec.UNDEPRECATED,
        codec.DELETED,
    }
