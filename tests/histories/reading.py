"""Recorded histories as tests read them."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from runplane.workflow.v1 import workflow_pb2 as pb

from services.chassis.eventlog.port import NewEvent, StoredEvent
from services.workflow.adapters import codec
from services.workflow.domain.definition import Definition
from services.workflow.domain.evolution import evolve
from services.workflow.domain.instance import Instance
from services.workflow.domain.language import outcome

FOLDER: Final = Path(__file__).parent
TASKS: Final = sorted(FOLDER.glob("task_*.json"))
WORKFLOWS: Final = sorted(FOLDER.glob("workflow_*.json"))


def document(path: Path) -> tuple[dict[str, Any], list[NewEvent]]:
    """A file, and the events in it."""
    found = json.loads(path.read_text())
    events = [
        NewEvent(each["type"], datetime.fromisoformat(each["time"]), base64.b64decode(each["body"]))
        for each in found["events"]
    ]
    return found, events


@dataclass(frozen=True)
class History:
    """A workflow's log, its definition, and what it is known to add up to."""

    source: dict[str, Any]
    """The definition as it was written."""
    definition: Definition
    events: list[StoredEvent]
    adds_up_to: dict[str, Any]

    @property
    def shown(self) -> pb.Workflow:
        """What lists showed of it in the end."""
        return pb.Workflow.FromString(base64.b64decode(self.adds_up_to["shown"]))

    def replayed(self) -> Instance:
        """What the events add up to."""
        instance = None
        for event in self.events:
            instance = evolve(self.definition, instance, codec.decoded(event))
        assert instance is not None
        return instance


def workflow(path: Path) -> History:
    """A workflow's history."""
    found, events = document(path)
    definition = outcome(found["definition"]).definition
    assert definition is not None
    shown = pb.Workflow.FromString(base64.b64decode(found["adds_up_to"]["shown"]))
    return History(
        found["definition"],
        replace(definition, version=found["version"]),
        _stored(shown.workflow_id, events),
        found["adds_up_to"],
    )


def _stored(stream_id: str, events: Sequence[NewEvent]) -> list[StoredEvent]:
    return [
        StoredEvent("default", stream_id, number, number, each.type, each.time, each.body)
        for number, each in enumerate(events, 1)
    ]
